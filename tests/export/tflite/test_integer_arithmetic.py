"""Operators of int32 and int64 tensors: the same numbers as ONNX's reference, or a refusal."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from edgeconv.bundle import Layout
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model, check, smooth
from support.runtimes import run_tflite

SHAPE = (2, 3, 4)
KINDS = {"int32": 6, "int64": 7}
BINARY = [
    *("Add", "Sub", "Mul", "Mod", "Max", "Min", "Sum", "PRelu", "Pow", "Div"),
    *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
]
UNARY = [
    *("Abs", "Neg", "Sign", "Relu", "Identity", "Transpose", "ArgMax", "ReduceL1", "ReduceL2"),
    *("ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "ReduceMean"),
]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("op_type", BINARY + UNARY + ["Clip", "BitwiseAnd", "BitwiseOr", "Not"])
def test_an_operator_of_integers(op_type: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.integers(-40, 40, SHAPE).astype(dtype),
        "y": rng.integers(1, 4, SHAPE).astype(dtype),
    }
    net = Net()
    x, y = (net.input(name, SHAPE, KINDS[dtype]) for name in feeds)
    if op_type == "Clip":
        z = net.op("Clip", x, *(net.constant(np.array(item, dtype)) for item in (-9, 7)))
    elif op_type == "Not":
        z = net.op("BitwiseNot", x)
    else:
        z = net.op(op_type, *([x] if op_type in UNARY else [x, y]))
    proto = net.output(z).proto()
    got = run_tflite(lower(as_model(proto), layout=Layout.NCHW).data, feeds)
    (expected,) = ReferenceEvaluator(proto).run(None, feeds)
    np.testing.assert_array_equal(got[z], expected)


def test_computed_indices_may_count_from_the_end() -> None:
    net = Net()
    x, indices = net.input("x", (4, 3)), net.input("i", (5,), KINDS["int64"])
    columns = net.input("j", (4, 2), KINDS["int64"])
    pairs = net.op("Unsqueeze", columns, net.constant([2]))
    results = [
        net.op("Gather", x, indices, axis=0),
        net.op("GatherElements", x, columns, axis=1),
        net.op("GatherND", x, pairs, batch_dims=1),
        net.op("ScatterElements", x, columns, net.constant(np.ones((4, 2), np.float32)), axis=1),
    ]
    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.normal(size=(4, 3)).astype(np.float32),
        "i": np.array([0, -1, 3, -4, 2]),
        "j": np.array([[0, -1], [-3, 1], [2, 1], [-2, 0]]),
    }
    proto = net.output(*results).proto()
    got = run_tflite(lower(as_model(proto)).data, feeds)
    for name, reference in zip(results, ReferenceEvaluator(proto).run(None, feeds), strict=True):
        np.testing.assert_array_equal(got[name], reference)


@pytest.mark.parametrize("reduction", ["mul", "max", "min"])
def test_a_scatter_that_reduces(reduction: str) -> None:
    net = Net()
    x, indices = net.input("x", (5, 3)), net.input("i", (4, 1), KINDS["int64"])
    updates = net.input("u", (4, 3))
    results = [
        net.op("ScatterND", x, indices, updates, reduction=reduction),
        net.op(
            "ScatterElements", x, net.constant([[0, -1, 0], [1, 1, 0]]),
            net.op("Slice", updates, net.constant([0]), net.constant([2])), reduction=reduction,
        ),
    ]  # fmt: skip
    rng = np.random.default_rng(1)
    feeds = {
        "x": rng.normal(size=(5, 3)).astype(np.float32),
        "i": np.array([[1], [-1], [1], [0]]),
        "u": rng.normal(size=(4, 3)).astype(np.float32),
    }
    proto = net.output(*results).proto()
    got = run_tflite(lower(as_model(proto)).data, feeds)
    for name, reference in zip(results, ReferenceEvaluator(proto).run(None, feeds), strict=True):
        np.testing.assert_allclose(got[name], reference, rtol=1e-6)


BYTES = {"int8": 3, "uint8": 2}


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Mod", "Max", "Less", "Where"])
def test_bytes_are_numbers_too(op_type: str, dtype: str) -> None:
    """Without a scale they wrap around, as in ONNX."""
    rng = np.random.default_rng(0)
    limits = np.iinfo(dtype)
    feeds = {
        "x": rng.integers(limits.min, limits.max, SHAPE).astype(dtype),
        "y": rng.integers(1, limits.max, SHAPE).astype(dtype),
    }
    net = Net()
    x, y = (net.input(name, SHAPE, BYTES[dtype]) for name in feeds)
    chosen = [net.op("Less", x, y)] if op_type == "Where" else []
    net.output(net.op(op_type, *chosen, x, y))
    check(net, feeds)


def test_a_pool_of_bytes_without_a_scale() -> None:
    net = Net()
    y = net.op("MaxPool", net.input("x", (1, 2, 4, 4), BYTES["uint8"]), kernel_shape=(2, 2))
    pair = net.constant(np.float32(0.1)), net.constant(np.array(3, np.uint8))
    net.output(net.op("DequantizeLinear", y, *pair))
    codes = np.arange(32, dtype=np.uint8).reshape(1, 2, 4, 4) * 8
    check(net, {"x": codes})


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("axis", [1, -1])
def test_activations_with_a_scale_for_each_channel(dtype: str, axis: int) -> None:
    net = Net()
    scales = net.constant(np.array([0.01, 0.1, 0.5], np.float32))
    zeros = net.constant(np.array([0, 3, 100], dtype))
    shape = (2, 3, 3)
    codes = net.op("QuantizeLinear", net.input("x", shape), scales, zeros, axis=axis)
    net.output(net.op("DequantizeLinear", codes, scales, zeros, axis=axis))
    # One step of the coarsest channel, where a half is rounded.
    check(net, {"x": smooth(shape)})
