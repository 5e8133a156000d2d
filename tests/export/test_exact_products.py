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
