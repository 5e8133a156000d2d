"""Products of integers are exact on ONNX Runtime, on x86 processors without VNNI too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgeconv.export.runtimes import open_session
from edgeconv.runner.onnx_model import OnnxModel
from support.runtimes import Array

ZERO_POINTS = {"uint8": np.uint8(128), "int8": np.int8(0)}
KERNELS = {"Conv": (32, 16, 3, 3), "MatMul": (64, 32), "Gemm": (64, 32)}
STEP = 300.0
# The largest there are: two products of them exceed 16 bits.
WEIGHTS, VALUES = [-127, 127, 100], [-128, 127, 100, -90]


def chosen(values: list[int], shape: tuple[int, ...], dtype: str) -> Array:
    return np.random.default_rng(0).choice(values, shape).astype(dtype)


def values_of(operator: str) -> Array:
    return chosen(VALUES, (1, 16, 8, 8) if operator == "Conv" else (4, 64), "float32")


def expected(operator: str, x: Array) -> Array:
    w = chosen(WEIGHTS, KERNELS[operator], "float64")
    if operator == "Conv":
        product = torch.nn.functional.conv2d(*map(torch.from_numpy, (x.astype(float), w))).numpy()
    else:
        product = x.astype(float) @ w
    return np.clip(np.rint(product / STEP), -128, 127)


def quantized(operator: str, dtype: str) -> onnx.ModelProto:
    """Quantized, and between operators that quantize."""
    constants = {
        "w": chosen(WEIGHTS, KERNELS[operator], "int8"),
        "one": np.float32(1),
        "step": np.float32(STEP),
        "zero": ZERO_POINTS[dtype],
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "one", "zero"], ["r"]),
        helper.make_node("DequantizeLinear", ["w", "one"], ["v"]),
        helper.make_node(operator, ["r", "v"], ["p"]),
        helper.make_node("QuantizeLinear", ["p", "step", "zero"], ["n"]),
        helper.make_node("DequantizeLinear", ["n", "one", "zero"], ["y"]),
    ]
    return model(nodes, constants, values_of(operator).shape, TensorProto.FLOAT)


def model(
    nodes: list[onnx.NodeProto], constants: dict[str, Array], shape: tuple[int, ...], dtype: int
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("dtype", ZERO_POINTS)
@pytest.mark.parametrize("operator", KERNELS)
def test_large_products_are_exact(operator: str, dtype: str, tmp_path: Path) -> None:
    x = values_of(operator)
    file = tmp_path / "net.onnx"
    onnx.save(quantized(operator, dtype), file)
    exported = open_session(file).run(None, {"x": x})[0]
    measured = OnnxModel(onnxruntime, str(file), threads=1)
    measured.feed([x])
    measured.inference()()
    # A tie may be rounded to either side.
    assert abs(exported - expected(operator, x)).max() <= 1
    assert np.array_equal(measured.outputs()[0][1], exported)


@pytest.mark.parametrize("dtype", ZERO_POINTS)
def test_so_are_those_of_integer_operators(dtype: str, tmp_path: Path) -> None:
    """Beside int8 activations ONNX Runtime has no kernel for the uint8 weights that it makes."""
    zero, x = ZERO_POINTS[dtype], values_of("MatMul")
    constants = {
        "w": chosen(WEIGHTS, KERNELS["MatMul"], "int8"),
        "one": np.float32(1),
        "step": np.float32(STEP),
        "zero": zero,
        "zero_of_weights": np.int8(0),
    }
    names = ["x", "one", "zero", "w", "one", "zero_of_weights", "step", "zero"]
    node = helper.make_node("QLinearMatMul", names, ["y"])
    file = tmp_path / "net.onnx"
    given = helper.np_dtype_to_tensor_dtype(zero.dtype)
    onnx.save(model([node], constants, x.shape, given), file)
    q = (x + zero).astype(dtype)
    exported = open_session(file).run(None, {"x": q})[0]
    measured = OnnxModel(onnxruntime, str(file), threads=1)
    measured.feed([q])
    measured.inference()()
    difference = exported.astype(int) - zero - expected("MatMul", x)
    assert abs(difference).max() <= 1  # a tie
    assert np.array_equal(measured.outputs()[0][1], exported)


def integer_product(weights: str, result: str) -> list[onnx.NodeProto]:
    """From float through a product of uint8 and int8."""
    names = ["q", "one", "zero", weights, "one", "zero_of_weights", "step", "zero"]
    return [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"]),
        helper.make_node("QLinearMatMul", names, ["n"]),
        helper.make_node("DequantizeLinear", ["n", "one", "zero"], [result]),
    ]


CONSTANTS = {
    "w": chosen(WEIGHTS, KERNELS["MatMul"], "int8"),
    "one": np.float32(1),
    "step": np.float32(STEP),
    "zero": np.uint8(128),
    "zero_of_weights": np.int8(0),
}


def assert_exact(nodes: list[onnx.NodeProto], *, fuse: bool, **more: Array) -> None:
    x = values_of("MatMul")
    proto = model(nodes, CONSTANTS | more, x.shape, TensorProto.FLOAT)
    (found,) = open_session(proto.SerializeToString(), fuse=fuse).run(None, {"x": x})
    assert abs(found - expected("MatMul", x)).max() <= 1  # a tie


@pytest.mark.parametrize("fuse", [True, False])
def test_so_are_those_beside_int8_activations(fuse: bool) -> None:
    """For which the setting has no kernel: without it, the others saturated."""
    names = ["q8", "one", "zero8", "w8", "one", "zero8", "step", "zero8"]
    other = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero8"], ["q8"]),
        helper.make_node("QLinearMatMul", names, ["n8"]),
        helper.make_node("DequantizeLinear", ["n8", "zero_step", "zero8"], ["nothing"]),
        helper.make_node("Add", ["p", "nothing"], ["y"]),
    ]
    more = {"zero8": np.int8(0), "w8": CONSTANTS["w"], "zero_step": np.float32(1e-9)}
    assert_exact(integer_product("w", "p") + other, fuse=fuse, **more)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("quantized_operators", [True, False])
def test_so_are_those_of_bodies(own: bool, fuse: bool, quantized_operators: bool) -> None:
    """Weights stayed int8 where they, or their zero point, lie outside of the body."""
    quantize, *product = integer_product("v" if own else "w", "r")
    if not quantized_operators:
        product = [
            helper.make_node("DequantizeLinear", ["q", "one", "zero"], ["real"]),
            helper.make_node("DequantizeLinear", ["v" if own else "w", "one"], ["kernel"]),
            helper.make_node("MatMul", ["real", "kernel"], ["p"]),
            helper.make_node("QuantizeLinear", ["p", "step", "zero"], ["n"]),
            helper.make_node("DequantizeLinear", ["n", "one", "zero"], ["r"]),
        ]
    result = [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)]
    weights = [numpy_helper.from_array(np.asarray(CONSTANTS["w"]), "v")] if own else []
    body = helper.make_graph(product, "body", [], result, weights)
    empty = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["e"])],
        "other",
        [],
        [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
    )
    branch = helper.make_node("If", ["open"], ["y"], then_branch=body, else_branch=empty)
    condition = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "one"], ["open"]),
    ]
    assert_exact([quantize, *condition, branch], fuse=fuse)


@pytest.mark.parametrize("stated", [True, False])
def test_so_are_those_of_quantized_activations_without_optimization(stated: bool) -> None:
    """Of which the setting takes no notice there."""
    integers = ["q", "w", "z", *(["zero_of_weights"] if stated else [])]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", integers, ["sums"]),
        helper.make_node("Cast", ["sums"], ["reals"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["reals", "step"], ["scaled"]),
        helper.make_node("Mul", ["scaled", "s"], ["steps"]),
        helper.make_node("Round", ["steps"], ["rounded"]),
        helper.make_node("Clip", ["rounded", "low", "high"], ["y"]),
    ]
    more = {"low": np.float32(-128), "high": np.float32(127)}
    assert_exact(nodes, fuse=False, **more)


def test_so_are_those_by_channel_without_optimization(tmp_path: Path) -> None:
    """Weights in a file beside the model, too."""
    zero, x = np.uint8(128), values_of("Conv")
    channels = KERNELS["Conv"][0]
    constants = {
        "w": chosen(WEIGHTS, KERNELS["Conv"], "int8"),
        "one": np.float32(1),
        "ones": np.ones(channels, np.float32),
        "step": np.float32(STEP),
        "zero": zero,
        "zeros": np.zeros(channels, np.int8),
    }
    names = ["x", "one", "zero", "w", "ones", "zeros", "step", "zero"]
    node = helper.make_node("QLinearConv", names, ["y"])
    file = tmp_path / "net.onnx"
    proto = model([node], constants, x.shape, TensorProto.UINT8)
    onnx.save(proto, file, save_as_external_data=True, location="weights", size_threshold=100)
    given = (x + zero).astype(np.uint8)
    (found,) = open_session(file, fuse=False).run(None, {"x": given})
    assert abs(found.astype(int) - zero - expected("Conv", x)).max() <= 1  # a tie
