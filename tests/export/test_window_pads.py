"""Stated pads give what ``auto_pad`` gives in ONNX Runtime and in ONNX's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edgeconv.export.window_pads import AutoPad, Windows, cut_in_front

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]
Case = tuple[Shape, Shape, dict[str, Any]]


def model_of(node: onnx.NodeProto, *inputs: Array) -> onnx.ModelProto:
    named = zip(node.input, inputs, strict=True)
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, x.shape) for n, x in named]
    graph = helper.make_graph([node], "g", values, [onnx.ValueInfoProto(name="y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=8)


def computed(node: onnx.NodeProto, *inputs: Array, dilated: bool = False) -> Array:
    """By ONNX Runtime; by ONNX's reference where the former refuses dilations beside SAME."""
    model, feeds = model_of(node, *inputs), dict(zip(node.input, inputs, strict=True))
    if dilated:
        (found,) = ReferenceEvaluator(model).run(None, feeds)
    else:
        data = model.SerializeToString()
        (found,) = onnxruntime.InferenceSession(data).run(None, feeds)
    return np.asarray(found)


@st.composite
def cases(draw: st.DrawFn, *, dilated: bool = True) -> Case:
    """The size of a map, that of a kernel, and attributes: each of one or two dimensions."""
    rank = draw(st.integers(1, 2))

    def each(least: int, most: int) -> Shape:
        return tuple(draw(st.integers(least, most)) for _ in range(rank))

    mode = draw(st.sampled_from(AutoPad))
    attributes: dict[str, Any] = {"auto_pad": mode.value, "strides": each(1, 3)}
    if dilated:
        attributes["dilations"] = each(1, 2)
    if mode is AutoPad.NOTSET:
        attributes["pads"] = (*each(0, 2), *each(0, 2))
    return each(5, 9), each(1, 3), attributes


def values(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@settings(max_examples=60)
@given(cases())
def test_a_convolution_of_stated_pads(case: Case) -> None:
    size, kernel, attributes = case
    x, w = values(1, 1, *size), values(1, 1, *kernel)
    strict = attributes["auto_pad"].startswith("SAME") and max(attributes["dilations"]) > 1
    theirs = computed(
        helper.make_node("Conv", ["x", "w"], ["y"], **attributes), x, w, dilated=strict
    )
    windows = Windows.of(kernel, attributes)
    if windows.auto_pad.value.startswith("SAME"):
        assert windows.same_count(size) == theirs.shape[2:]
    sides = windows.sides(size, theirs.shape[2:])
    assert windows.front(size, theirs.shape[2:]) == tuple(before for before, _ in sides)
    stated = {
        "strides": windows.strides,
        "dilations": windows.dilations,
        "pads": [*(before for before, _ in sides), *(behind for _, behind in sides)],
    }
    ours = computed(helper.make_node("Conv", ["x", "w"], ["y"], **stated), x, w)
    # Sums of at most 9 products of about 1, in another order.
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@settings(max_examples=60)
@given(cases(dilated=False), st.data())
def test_a_transposed_convolution_is_cut_in_front(case: Case, data: st.DataObject) -> None:
    size, kernel, attributes = case
    more = tuple(data.draw(st.integers(0, step - 1)) for step in attributes["strides"])
    if not attributes["auto_pad"].startswith("SAME"):  # capture/transposed_pads.py states those
        attributes["output_padding"] = more
    elif data.draw(st.booleans()):
        whole = zip(size, attributes["strides"], more, strict=True)
        attributes["output_shape"] = [a * stride - less for a, stride, less in whole]
    x, w = values(1, 1, *size), values(1, 1, *kernel)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **attributes)
    theirs = computed(node, x, w)
    graph = ir.from_proto(model_of(node, x, w)).graph
    cut = cut_in_front(graph.node(0), kernel, size, theirs.shape[2:])
    uncut = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=attributes["strides"])
    whole_result = computed(uncut, x, w)
    # What reaches behind the last window is zero: there is no bias.
    room = [(0, 0), (0, 0), *((0, a + b) for a, b in zip(cut, theirs.shape[2:], strict=True))]
    part = tuple(slice(a, a + b) for a, b in zip(cut, theirs.shape[2:], strict=True))
    ours = np.pad(whole_result, room)[(slice(None), slice(None), *part)]
    # Sums of at most 9 products of about 1, in another order.
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", list(AutoPad))
def test_absent_attributes_have_their_defaults(mode: AutoPad) -> None:
    windows = Windows.of((3, 2), {"auto_pad": mode.value, "strides": None})
    assert (windows.strides, windows.dilations, windows.pads) == ((1, 1), (1, 1), (0,) * 4)
    # ONNX: padding SAME of a stride of 1 adds one element less than the kernel has.
    expected = {
        AutoPad.SAME_UPPER: ((1, 1), (0, 1)),
        AutoPad.SAME_LOWER: ((1, 1), (1, 0)),
    }.get(mode, ((0, 0), (0, 0)))
    assert windows.sides((4, 4), (4, 4)) == expected


def test_a_mode_that_onnx_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="FULL"):
        Windows.of((3,), {"auto_pad": "FULL"})
