"""Kernels of PyTorch in ONNX's reference implementation compute what ONNX Runtime computes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edgeconv.export.verify.reference_kernels import KERNELS

FLOAT = onnx.TensorProto.FLOAT


def evaluated(node: onnx.NodeProto, *inputs: Any, opset: int = 19) -> tuple[list[Any], list[Any]]:
    """What ours and ONNX Runtime compute of one node, in float32."""
    feeds = {n: x.astype(np.float32) for n, x in zip(node.input, inputs, strict=True)}
    values = [helper.make_tensor_value_info(n, FLOAT, x.shape) for n, x in feeds.items()]
    results = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], "g", values, results)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    ours = ReferenceEvaluator(model, new_ops=KERNELS).run(None, feeds)
    return ours, onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)


def same(node: onnx.NodeProto, *inputs: Any, opset: int = 19) -> None:
    for mine, theirs in zip(*evaluated(node, *inputs, opset=opset), strict=True):
        assert mine.dtype == theirs.dtype
        # Sums in another order: there are at most 36 terms of about 1, each rounded by 6e-8.
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


@st.composite
def windows(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """A number of dimensions, and settings of windows that fit into 9 values in each."""
    dims = draw(st.integers(1, 2))

    def each(least: int, most: int, count: int = 1) -> list[int]:
        return draw(
            st.lists(st.integers(least, most), min_size=dims * count, max_size=dims * count)
        )

    return dims, {
        "kernel_shape": each(2, 3),
        "strides": each(1, 3),
        "dilations": each(1, 2),
        "pads": each(0, 1, 2),
    }


def drawn(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape)


@given(windows(), st.sampled_from([1, 2]), st.booleans())
def test_convolutions(window: tuple[int, dict[str, Any]], groups: int, biased: bool) -> None:
    dims, settings = window
    names = ["x", "w", "b"][: 2 + biased]
    node = helper.make_node("Conv", names, ["y"], group=groups, **settings)
    x, w, b = drawn(2, 4, *[9] * dims), drawn(6, 4 // groups, *settings["kernel_shape"]), drawn(6)
    same(node, *(x, w, b)[: len(names)])


@given(windows(), st.sampled_from([1, 2]), st.booleans(), st.integers(0, 1))
def test_transposed_convolutions(
    window: tuple[int, dict[str, Any]], groups: int, biased: bool, more: int
) -> None:
    dims, settings = window
    names = ["x", "w", "b"][: 2 + biased]
    padding = [more if stride > 1 else 0 for stride in settings["strides"]]
    node = helper.make_node(
        "ConvTranspose", names, ["y"], group=groups, output_padding=padding, **settings
    )
    x, w = drawn(1, 4, *[5] * dims), drawn(4, 6 // groups, *settings["kernel_shape"])
    same(node, *(x, w, drawn(6))[: len(names)])


@given(windows(), st.sampled_from(["MaxPool", "AveragePool"]), st.booleans())
def test_pools(window: tuple[int, dict[str, Any]], kind: str, counted: bool) -> None:
    dims, settings = window
    average = kind == "AveragePool"
    more = {"count_include_pad": int(counted)} if average else {}
    if average:
        settings = settings | {"dilations": [1] * dims}
    same(helper.make_node(kind, ["x"], ["y"], **settings, **more), drawn(2, 3, *[9] * dims))


@pytest.mark.parametrize("opset", [7, 10, 11, 19, 22])
def test_every_version(opset: int) -> None:
    window: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 0]}
    x = drawn(1, 4, 8, 8)
    for kind in ("MaxPool", "AveragePool"):
        same(helper.make_node(kind, ["x"], ["y"], **window), x, opset=opset)
    for kind in ("Conv", "ConvTranspose"):
        same(helper.make_node(kind, ["x", "w"], ["y"], **window), x, drawn(4, 4, 3, 3), opset=opset)


@pytest.mark.parametrize("padding", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_that_follows_from_the_shape(padding: str, stride: int) -> None:
    window: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [stride] * 2, "auto_pad": padding}
    x = drawn(1, 4, 8, 7)
    for kind in ("MaxPool", "AveragePool"):
        same(helper.make_node(kind, ["x"], ["y"], **window), x)
    for kind in ("Conv", "ConvTranspose"):
        same(helper.make_node(kind, ["x", "w"], ["y"], **window), x, drawn(4, 4, 3, 2))


@pytest.mark.parametrize("settings", [{"ceil_mode": 1}, {"dilations": [2, 2]}])
def test_what_pytorch_has_not_is_left_to_onnx(settings: dict[str, Any]) -> None:
    for kind in ("MaxPool", "AveragePool"):
        node = helper.make_node(kind, ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], **settings)
        same(node, drawn(1, 2, 8, 8))


def test_places_of_maxima() -> None:
    node = helper.make_node("MaxPool", ["x"], ["y", "places"], kernel_shape=[2, 2], strides=[2, 2])
    same(node, drawn(1, 2, 6, 6))


def test_erf_has_all_digits() -> None:
    """That of ONNX is rounded to float32."""
    x = np.linspace(-3, 3, 41)
    node = helper.make_node("Erf", ["x"], ["y"])
    (got,) = ReferenceEvaluator(node, opsets={"": 19}, new_ops=KERNELS).run(None, {"x": x})
    np.testing.assert_allclose(got, [math.erf(value) for value in x], rtol=1e-15)


def test_sums_have_all_digits() -> None:
    x, w = np.full((1, 1, 3), 1e-9), np.ones((1, 1, 3))
    x[0, 0, 0] = 1.0
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    (got,) = ReferenceEvaluator(node, opsets={"": 19}, new_ops=KERNELS).run(None, {"x": x, "w": w})
    np.testing.assert_allclose(got, 1 + 2e-9, rtol=1e-15)
