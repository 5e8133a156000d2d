"""Arithmetic and activations against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from edgeconv.bundle import Layout
from edgeconv.export.tflite import lower
from support.lowering import Array, Net, as_model, check, operators, smooth
from support.runtimes import run_tflite

MAP = (2, 3, 4, 5)
BROADCASTS = [MAP, (2, 3, 1, 1), (1, 3, 1, 1), (3, 1, 1), (5,), (4, 1), (1,), (), (1, 1, 4, 5)]
ARITHMETIC = ["Add", "Sub", "Mul", "Div"]


def positive(array: Array) -> Array:
    """Away from zero, so that a quotient is tame."""
    return (np.abs(array) + 0.5).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(ARITHMETIC),
    st.sampled_from(BROADCASTS),
    st.booleans(),
    st.sampled_from(["constant", "input", "map"]),
    st.sampled_from(Layout),
)
def test_float(
    kind: str, shape: tuple[int, ...], swapped: bool, source: str, layout: Layout
) -> None:
    net = Net()
    feeds = {"x": positive(smooth(MAP))}
    # Behind a pool the values lie with their channels last.
    x = net.op("MaxPool", net.input("x", MAP), kernel_shape=(1, 1))
    other = np.asarray(positive(smooth(shape, 1)))
    if source == "constant":
        y = net.constant(other)
    else:
        y = net.input("y", shape)
        feeds["y"] = other
        if source == "map" and len(shape) == 4:
            y = net.op("MaxPool", y, kernel_shape=(1, 1))
    operands = (y, x) if swapped else (x, y)
    net.output(net.op("Relu", net.op(kind, *operands)))
    check(net, feeds, layout=layout)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["Add", "Sub", "Mul"]),
    st.sampled_from([MAP, (2, 3, 1, 1), (1, 3, 1, 1), (3, 1, 1), ()]),
    st.sampled_from(["number", "codes", "input"]),
    st.booleans(),
)
def test_int8(kind: str, shape: tuple[int, ...], source: str, relu: bool) -> None:
    net = Net()
    feeds = {"x": smooth(MAP)}
    x = net.quantized(net.input("x", MAP), 0.03, 120)
    if source == "input":
        feeds["y"] = np.asarray(smooth(shape, 1))
        y = net.quantized(net.input("y", shape), 0.02, 130)
    elif source == "codes":
        codes = np.random.default_rng(0).integers(-128, 127, shape).astype(np.int8)
        zero = net.constant(np.array(3, np.int8))
        y = net.op("DequantizeLinear", net.constant(codes), net.constant(np.float32(0.02)), zero)
    else:
        y = net.constant(np.full(shape, -0.7, np.float32))
    result = net.op(kind, x, y)
    result = net.op("Relu", result) if relu else result
    net.output(net.quantized(result, 0.04, 110))
    lowered = check(net, feeds, step=0.04)
    assert lowered.float_fallback == ()


def test_an_unquantized_constant_runs_in_float_and_says_so() -> None:
    net = Net()
    x = net.quantized(net.input("x", MAP), 0.03, 120)
    y = net.op("Add", x, net.constant(smooth(MAP, 1)))
    net.output(net.quantized(y, 0.04, 110))
    (reason,) = check(net, {"x": smooth(MAP)}, step=0.04).float_fallback
    assert "constant input c2 is not quantized" in reason


UNARY = {
    "Relu": {},
    "Sigmoid": {},
    "Tanh": {},
    "HardSwish": {},
    "HardSigmoid": {"alpha": 1 / 6, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.1},
    "Elu": {},
    "Abs": {},
    "Neg": {},
    "Exp": {},
    "Sin": {},
    "Cos": {},
    "Floor": {},
    "Ceil": {},
    "Round": {},
    "Gelu": {},
    "Erf": {},
    "Softplus": {},
    "Celu": {"alpha": 0.3},
    "Identity": {},
    "Selu": {},
    "Softsign": {},
    "Reciprocal": {},
    "Sign": {},
    "Mish": {},
    "ThresholdedRelu": {"alpha": 0.2},
}
POSITIVE_UNARY = ["Sqrt", "Log"]


@pytest.mark.parametrize("kind", [*UNARY, *POSITIVE_UNARY])
@pytest.mark.parametrize("layout", Layout)
def test_unary_float(kind: str, layout: Layout) -> None:
    net = Net()
    x = net.op("MaxPool", net.input("x", MAP), kernel_shape=(1, 1))
    net.output(net.op(kind, x, **UNARY.get(kind, {})))
    values = 3 * smooth(MAP)
    check(net, {"x": positive(values) if kind in POSITIVE_UNARY else values}, layout=layout)


@pytest.mark.parametrize(
    "kind",
    ["Relu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "Gelu", "Selu", "Celu"],
)
@pytest.mark.parametrize("scale", [1 / 256, 1 / 128, 0.03])
def test_unary_int8(kind: str, scale: float) -> None:
    net = Net()
    x = net.quantized(net.input("x", MAP), 0.05, 120)
    y = net.op(kind, x, **UNARY[kind])
    fixed = {"Sigmoid": 0, "HardSigmoid": 0, "Tanh": 128}
    net.output(net.quantized(y, scale, fixed.get(kind, 20)))
    lowered = check(net, {"x": 2 * smooth(MAP)}, step=scale)
    assert lowered.float_fallback == ()


@pytest.mark.parametrize("bounds", [(0, 6), (-1, 1), (0, 3), (None, 2), (-2, None), (0, None)])
@pytest.mark.parametrize("int8", [False, True])
def test_clip(bounds: tuple[float | None, float | None], int8: bool) -> None:
    net = Net()
    x = net.input("x", MAP)
    x = net.quantized(x, 0.06, 120) if int8 else x
    limits = ["" if bound is None else net.constant(np.float32(bound)) for bound in bounds]
    y = net.op("Clip", x, *limits)
    net.output(net.quantized(y, 0.05, 110) if int8 else y)
    lowered = check(net, {"x": 4 * smooth(MAP)}, step=0.05 if int8 else None)
    assert lowered.float_fallback == ()


def test_a_relu_that_the_output_range_implies_is_a_change_of_scale() -> None:
    net = Net()
    x = net.quantized(net.input("x", MAP), 0.05, 120)
    net.output(net.quantized(net.op("Relu", x), 0.02, 0))
    lowered = check(net, {"x": smooth(MAP)}, step=0.02)
    assert operators(lowered) == ["QUANTIZE", "DEQUANTIZE", "QUANTIZE", "DEQUANTIZE"]


@settings(max_examples=20, deadline=None)
@given(st.integers(-4, 3), st.sampled_from(Layout), st.booleans())
def test_softmax(axis: int, layout: Layout, int8: bool) -> None:
    net = Net()
    x = net.input("x", MAP)
    x = net.quantized(x, 0.05, 120) if int8 else x
    y = net.op("Softmax", x, axis=axis)
    net.output(net.quantized(y, 1 / 256, 0) if int8 else y)
    check(net, {"x": 2 * smooth(MAP)}, layout=layout, step=1 / 256 if int8 else None)


def test_a_softmax_of_another_scale_is_requantized() -> None:
    net = Net()
    x = net.quantized(net.input("x", (1, 9)), 0.05, 120)
    net.output(net.quantized(net.op("Softmax", x), 1 / 200, 0))
    lowered = check(net, {"x": smooth((1, 9))}, step=1 / 200)
    assert operators(lowered) == ["QUANTIZE", "SOFTMAX", "DEQUANTIZE", "QUANTIZE", "DEQUANTIZE"]


def test_silu_is_logistic_and_mul() -> None:
    net = Net()
    x = net.op("MaxPool", net.input("x", MAP), kernel_shape=(1, 1))
    net.output(net.op("Mul", x, net.op("Sigmoid", x)))
    # The sigmoid of what a caller gives, which may be huge, is limited first.
    limited = ["MAX_POOL_2D", "MAXIMUM", "MINIMUM", "LOGISTIC", "MUL"]
    assert operators(check(net, {"x": smooth(MAP)})) == limited


@pytest.mark.parametrize("shape", [MAP, (2, 3), (2, 3, 7)])
@pytest.mark.parametrize("int8", [False, True])
def test_batch_normalization_that_was_not_folded(shape: tuple[int, ...], int8: bool) -> None:
    net = Net()
    statistics = [smooth((3,), seed) for seed in range(3)] + [positive(smooth((3,), 3))]
    # One channel that does not depend on its input, and one that hardly does.
    statistics[0][1] = 0
    statistics[0][2] = 1e-9
    x = net.input("x", shape)
    x = net.quantized(x, 0.05, 120) if int8 else x
    y = net.op("Relu", net.op("BatchNormalization", x, *map(net.constant, statistics)))
    net.output(net.quantized(y, 0.02, 10) if int8 else y)
    lowered = check(net, {"x": smooth(shape)}, step=0.02 if int8 else None)
    assert lowered.float_fallback == ()
    assert "DEPTHWISE_CONV_2D" in lowered.operators
    assert "RELU" not in lowered.operators


def test_one_addend_that_is_its_own_other() -> None:
    net = Net()
    x = net.quantized(net.input("x", MAP), 0.05, 120)
    net.output(net.quantized(net.op("Add", x, x), 0.1, 120))
    assert check(net, {"x": smooth(MAP)}, step=0.1).float_fallback == ()


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_integer_input_and_output_without_outer_pairs(dtype: str) -> None:
    net = Net()
    element = TensorProto.INT8 if dtype == "int8" else TensorProto.UINT8
    pair = net.constant(np.float32(0.05)), net.constant(np.array(20, dtype))
    x = net.op("DequantizeLinear", net.input("x", MAP, element), *pair)
    net.output(net.op("QuantizeLinear", net.op("Add", x, x), *pair))
    codes = np.random.default_rng(0).integers(0, 90, MAP).astype(dtype)
    lowered = check(net, {"x": codes}, step=0.05)
    assert [info.dtype for info in (*lowered.inputs, *lowered.outputs)] == [dtype, dtype]
    assert [info.zero_point for info in (*lowered.inputs, *lowered.outputs)] == [20, 20]


def test_a_value_that_is_used_quantized_and_not_runs_in_float() -> None:
    net = Net()
    x = net.quantized(net.input("x", MAP), 0.05, 120)
    y = net.op("Add", x, x)
    net.output(net.quantized(y, 0.1, 120), net.op("Exp", y))
    lowered = check(net, {"x": smooth(MAP)}, step=0.1)
    assert any("no single scale for its result" in reason for reason in lowered.float_fallback)


def test_the_negative_tail_of_mish() -> None:
    """By way of log(1 + exp(x)) it has no correct digit at -17."""
    net = Net()
    net.output(net.op("Mish", net.input("x", (1, 8))))
    check(net, {"x": np.linspace(-20, -12, 8, dtype=np.float32).reshape(1, 8)})


@pytest.mark.parametrize("slope", [-0.5, 0.0, 1e-3, 0.25, 1.0, 1.5, 300.0])
@pytest.mark.parametrize("kind", ["LeakyRelu", "PRelu"])
@pytest.mark.parametrize("int8", [False, True])
def test_one_slope(kind: str, slope: float, int8: bool) -> None:
    net = Net()
    x = net.input("x", MAP)
    x = net.quantized(x, 0.05, 120) if int8 else x
    slopes = np.full((3, 1, 1), slope, np.float32)
    y = (
        net.op("PRelu", x, net.constant(slopes))
        if kind == "PRelu"
        else net.op("LeakyRelu", x, alpha=slope)
    )
    net.output(net.quantized(y, 0.04, 110) if int8 else y)
    lowered = check(net, {"x": 2 * smooth(MAP)}, step=0.04 if int8 else None)
    assert lowered.float_fallback == ()


@pytest.mark.parametrize("int8", [False, True])
def test_a_slope_for_each_channel(int8: bool) -> None:
    net = Net()
    x = net.input("x", MAP)
    x = net.quantized(x, 0.05, 120) if int8 else x
    y = net.op("PRelu", x, net.constant(np.array([-0.3, 0.2, 1.5], np.float32).reshape(3, 1, 1)))
    net.output(net.quantized(y, 0.04, 110) if int8 else y)
    lowered = check(net, {"x": 2 * smooth(MAP)}, step=0.04 if int8 else None)
    assert len(lowered.float_fallback) == int8


@pytest.mark.parametrize(("count", "fallbacks"), [(1, 0), (2, 0), (3, 1)])
def test_a_sum_of_quantized_values(count: int, fallbacks: int) -> None:
    """Only the sum of two needs no scale that the graph does not state."""
    net = Net()
    x = net.quantized(net.input("x", MAP), 0.05, 120)
    net.output(net.quantized(net.op("Sum", *[x] * count), 0.1, 120))
    lowered = check(net, {"x": smooth(MAP)}, step=0.1)
    assert len(lowered.float_fallback) == fallbacks


@pytest.mark.parametrize(("exponent", "fallbacks"), [(0.5, 0), (1, 0), (2, 0), (3, 1), (1.7, 1)])
def test_a_power_of_quantized_values(exponent: float, fallbacks: int) -> None:
    net = Net()
    x = net.quantized(net.input("x", MAP), 0.05, 0)
    net.output(net.quantized(net.op("Pow", x, net.constant(np.float32(exponent))), 0.1, 10))
    lowered = check(net, {"x": smooth(MAP)}, step=0.1)
    assert len(lowered.float_fallback) == fallbacks


def test_the_ends_of_exp() -> None:
    """The range that the page of operators states for XNNPACK's kernel."""
    x = np.concatenate([np.linspace(-87.33, 88.37, 1000), [88.38, 88.7, -87.4]]).astype(np.float32)
    net = Net()
    net.output(net.op("Exp", net.input("x", x.shape)))
    (got,) = run_tflite(lower(as_model(net.proto())).data, {"x": x}).values()
    exact = np.exp(x.astype(np.float64))
    # XNNPACK takes a multiple of log(2) away from x in float32: its rounding and that of the
    # difference, half a unit of x each, are a relative error of the result.
    allowed = 2**-23 * np.maximum(np.abs(x[:1000]), 1)
    assert np.all(np.abs(got[:1000] / exact[:1000] - 1) < allowed)
    assert list(got[1000:]) == [np.inf, np.inf, 0]
