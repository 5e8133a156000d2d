"""The mean error of a layer, from sums of what it reads, against the layer itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, shape_inference

from edgeconv.export.graph_edit import GraphEditor, constant_array
from edgeconv.export.quantize.accuracy import tap_sums
from edgeconv.export.quantize.accuracy.bias_correction import sample_errors
from edgeconv.export.quantize.accuracy.tap_sums import TapSums
from edgeconv.export.quantize.parameters import ActivationParameters
from edgeconv.export.quantize.weights import round_to_nearest
from edgeconv.export.runtimes import open_session

# It leaves out a few values at either end, whose saturation is part of the error.
READ = ActivationParameters(0.02, 3)


def layer(
    operator: str,
    sizes: tuple[int, ...],
    weight: np.ndarray[Any, np.dtype[np.float32]],
    batch: int = 1,
    **attributes: object,
) -> onnx.ModelProto:
    """A network of one layer that reads [batch, channels, *sizes], with a bias."""
    groups = attributes.get("group", 1)
    assert isinstance(groups, int)
    transposed = operator == "ConvTranspose"
    channels = weight.shape[0] if transposed or operator == "Gemm" else weight.shape[1] * groups
    outputs = weight.shape[0] if operator == "Conv" else weight.shape[1] * groups
    node = helper.make_node(operator, ["x", "w", "b"], ["y"], name="layer", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, channels, *sizes])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(np.linspace(-1, 1, outputs, dtype=np.float32), "b"),
        ],
    )
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, ir_version=9, opset_imports=opsets)
    return shape_inference.infer_shapes(model, strict_mode=True)


def check(model: onnx.ModelProto, seed: int) -> None:
    """Compare with the layer that runs on ONNX Runtime with what is rounded, and without."""
    graph = ir.from_proto(model)
    node = graph.graph.node(0)
    x_shape = graph.graph.inputs[0].shape
    assert x_shape is not None
    generator = np.random.default_rng(seed)
    shape = x_shape.numpy()
    samples = [(generator.normal(0.5, 1, shape).astype(np.float32),) for _ in range(2)]
    rounded = round_to_nearest(node, {"x": READ})
    errors = sample_errors(graph, {"y": rounded}, {"y": READ}, samples)["y"]

    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    twin.graph.initializer[0].CopyFrom(numpy_helper.from_array(rounded.real, "w"))
    plain, other = (open_session(each.SerializeToString()) for each in (model, twin))
    for (x,), error in zip(samples, errors, strict=True):
        steps = np.round(x / np.float32(READ.scale)) + READ.zero_point
        integers = np.clip(steps, -128, 127) - READ.zero_point
        read = (integers * np.float32(READ.scale)).astype(np.float32)
        (expected,), (got,) = plain.run(None, {"x": x}), other.run(None, {"x": read})
        difference = (got.astype(np.float64) - expected).reshape(*got.shape[:2], -1)
        # What float32 sums of as many products are off, of outputs of this size.
        allowed = 1e-6 * max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(error, difference.mean(axis=(0, 2)), rtol=1e-4, atol=allowed)


@st.composite
def convolutions(draw: st.DrawFn) -> onnx.ModelProto:
    """Convolutions of every geometry: ranks, strides, padding, dilation, groups, transposed."""
    rank, transposed = draw(st.integers(1, 3)), draw(st.booleans())
    each = {
        name: draw(st.tuples(*[st.integers(least, most)] * rank))
        for name, least, most in (("kernel", 1, 3), ("strides", 1, 3), ("dilations", 1, 2))
    }
    reach = [(k - 1) * d + 1 for k, d in zip(each["kernel"], each["dilations"], strict=True)]
    sizes = tuple(side + draw(st.integers(0, 4)) for side in reach)
    how = draw(st.sampled_from(["pads", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    attributes: dict[str, object] = {"strides": each["strides"], "dilations": each["dilations"]}
    if how == "pads":
        most = [side - 1 if transposed else 3 for side in reach]
        attributes["pads"] = [draw(st.integers(0, side)) for side in (*most, *most)]
    else:
        attributes["auto_pad"] = how
    if how.startswith("SAME"):  # ONNX Runtime refuses dilation beside it
        del attributes["dilations"]
    if transposed and how in ("pads", "VALID"):
        attributes["output_padding"] = [draw(st.integers(0, s - 1)) for s in each["strides"]]
    groups, inputs, outputs = (draw(st.integers(1, 3)) for _ in range(3))
    shape = (inputs * groups, outputs) if transposed else (outputs * groups, inputs)
    weight = np.random.default_rng(0).normal(size=(*shape, *each["kernel"])).astype(np.float32)
    kind = "ConvTranspose" if transposed else "Conv"
    batch = draw(st.integers(1, 2))
    return layer(kind, sizes, weight, batch, group=groups, **attributes)


@settings(deadline=None, max_examples=80)
@given(convolutions(), st.integers(0, 9), st.booleans())
def test_the_mean_error_of_a_convolution(model: onnx.ModelProto, seed: int, long: bool) -> None:
    y = model.graph.output[0].type.tensor_type.shape.dim
    if math.prod(side.dim_value for side in y):  # a transposed one may be cut to nothing
        with pytest.MonkeyPatch.context() as patch:
            if long:
                patch.setattr(tap_sums, "_LARGEST_MATRIX", 0)
            check(model, seed)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_long_signal_adds_no_large_matrix_to_the_graph(transposed: bool) -> None:
    """Ten seconds of sound read by windows of 400 samples would be 256 MB."""
    weight = np.random.default_rng(0).normal(size=(1, 2, 400)).astype(np.float32)
    if transposed:
        model = layer("ConvTranspose", (1000,), weight, strides=[160])
    else:
        model = layer("Conv", (160_000,), weight.swapaxes(0, 1), strides=[160], pads=[200, 199])
    graph = ir.from_proto(model).graph
    x = graph.node(0).inputs[0]
    assert x is not None
    TapSums(GraphEditor(graph), x).of(graph.node(0))
    held = [constant_array(value) for value in graph.initializers.values()]
    assert sum(array.nbytes for array in held) < 4e6
    check(model, 1)


@pytest.mark.parametrize("transposed", [0, 1])
def test_the_mean_error_of_a_product(transposed: int) -> None:
    weight = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)
    check(layer("Gemm", (), weight, batch=3, transB=transposed), 1)


def test_a_stated_output_size_decides_the_padding() -> None:
    weight = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32)
    check(layer("ConvTranspose", (5, 4), weight, strides=[2, 2], output_shape=[10, 9]), 1)
