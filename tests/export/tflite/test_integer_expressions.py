"""How operators without a good int8 kernel are expressed: exactly, for every code."""

from __future__ import annotations

import numpy as np
import pytest

from edgeconv.export.quantize.parameters import Range, activation_parameters
from support.lowering import Net, check, operators

ALL_CODES = (1, 4, 8, 8)


def every_code(scale: float, zero_point: int) -> np.ndarray:
    """The real numbers of the 256 uint8 codes."""
    codes = np.arange(256, dtype=np.float32).reshape(ALL_CODES)
    return (codes - zero_point) * np.float32(scale)


@pytest.mark.parametrize(("scale", "zero_point"), [(0.05, 120), (0.0131, 77), (0.4, 128)])
def test_a_relu_in_another_scale_is_exact(scale: float, zero_point: int) -> None:
    """XNNPACK's QUANTIZE rounds the ratio of the scales to eight bits."""
    net = Net()
    x = net.quantized(net.input("x", ALL_CODES), scale, zero_point)
    net.output(net.quantized(net.op("Relu", x), 0.0213, 0))
    lowered = check(net, {"x": every_code(scale, zero_point)}, step=0.0)
    assert operators(lowered)[1:-1] == ["DEQUANTIZE", "QUANTIZE"]
    assert lowered.float_fallback == ()


def test_a_relu_in_the_scale_of_its_input_is_a_maximum() -> None:
    net = Net()
    x = net.quantized(net.input("x", ALL_CODES), 0.05, 120)
    net.output(net.quantized(net.op("Relu", x), 0.05, 120))
    lowered = check(net, {"x": every_code(0.05, 120)}, step=0.0)
    assert operators(lowered)[1:-1] == ["MAXIMUM"]


@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (1, 5), (5, 5)])
def test_a_small_average_pool_is_exact(kernel: tuple[int, int]) -> None:
    """TFLite's AVERAGE_POOL_2D rounds halves away from zero, ONNX Runtime to even.
    The scale has few bits, so that a half is one in float32 too."""
    net = Net()
    x = net.quantized(net.input("x", ALL_CODES), 0.0625, 120)
    net.output(net.quantized(net.op("AveragePool", x, kernel_shape=kernel), 0.0625, 120))
    lowered = check(net, {"x": every_code(0.0625, 120)}, step=0.0)
    assert operators(lowered)[1:-1] == ["DEPTHWISE_CONV_2D"]


def test_a_large_average_pool_is_a_pool() -> None:
    net = Net()
    x = net.quantized(net.input("x", ALL_CODES), 0.05, 120)
    net.output(net.quantized(net.op("AveragePool", x, kernel_shape=(6, 6)), 0.05, 120))
    lowered = check(net, {"x": every_code(0.05, 120)}, step=0.05)
    assert operators(lowered)[1:-1] == ["AVERAGE_POOL_2D"]


@pytest.mark.parametrize("scale", [0.0713, 0.0239, 0.11])
def test_hard_sigmoid_is_exact(scale: float) -> None:
    net = Net()
    x = net.quantized(net.input("x", ALL_CODES), scale, 97)
    net.output(net.quantized(net.op("HardSigmoid", x, alpha=1 / 6, beta=0.5), 0.93 / 255, 0))
    lowered = check(net, {"x": every_code(scale, 97)}, step=0.0)
    assert "DEPTHWISE_CONV_2D" not in operators(lowered)


@pytest.mark.parametrize("scale", [0.0713, 0.0239, 1 / 255])
def test_hard_swish_is_exact(scale: float) -> None:
    """TFLite's int8 HARD_SWISH has 16-bit multipliers: under 1 % of its codes are off by one, and
    a trained MobileNetV3 made 18 % of its outputs differ by more than a step out of that."""
    net = Net()
    x = net.quantized(net.input("x", ALL_CODES), scale, 108)
    net.output(net.quantized(net.op("HardSwish", x), 0.6 * scale, 13))
    lowered = check(net, {"x": every_code(scale, 108)}, step=0.0)
    assert operators(lowered)[1:-1] == ["DEQUANTIZE", "HARD_SWISH", "QUANTIZE"]
    assert not lowered.float_fallback


def test_a_hard_sigmoid_at_zero_is_no_tie() -> None:
    """0.5 lies between two codes of 1/255, and whole channels are zero before a gate."""
    parameters = activation_parameters(Range(0.0, 1.0))
    assert 0.5 / parameters.scale == pytest.approx(127)
    net = Net()
    x = net.quantized(net.input("x", ALL_CODES), 0.05, 128)
    gate = net.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    net.output(net.quantized(gate, parameters.scale, 0))
    lowered = check(net, {"x": every_code(0.05, 128)}, step=0.0)
    assert lowered.float_fallback == ()


@pytest.mark.parametrize(("kind", "name"), [("Gelu", "GELU"), ("Elu", "ELU")])
def test_a_table_of_the_codes_is_exact(kind: str, name: str) -> None:
    """The kernels look each code up in a table that they fill with float arithmetic."""
    net = Net()
    x = net.quantized(net.input("x", ALL_CODES), 0.05, 108)
    net.output(net.quantized(net.op(kind, x), 0.03, 40))
    lowered = check(net, {"x": every_code(0.05, 108)}, step=0.0)
    assert operators(lowered)[1:-1] == [name]


@pytest.mark.parametrize(("side", "fallbacks"), [(5, 0), (7, 1)])
def test_a_wide_depthwise_kernel_runs_in_float(side: int, fallbacks: int) -> None:
    """Above 25 elements XNNPACK's int8 kernel takes tens of times the instructions of float."""
    net = Net()
    x = net.quantized(net.input("x", ALL_CODES), 0.05, 120)
    codes, _ = net.int8_weight(np.random.default_rng(0).normal(0, 0.2, (4, 1, side, side)), 0)
    pads = (side // 2,) * 4
    net.output(net.quantized(net.op("Conv", x, codes, group=4, pads=pads), 0.1, 128))
    lowered = check(net, {"x": every_code(0.05, 120)}, step=0.1)
    assert len(lowered.float_fallback) == fallbacks


TABLES = ["Ceil", "Cos", "Floor", "Neg", "Round", "Selu", "Sign", "Sin", "Softplus"]


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [*((kind, {}) for kind in TABLES), ("Celu", {"alpha": 0.3}), ("Elu", {"alpha": 0.3})],
)
def test_a_function_of_one_element_by_way_of_float_is_exact(
    kind: str, attributes: dict[str, float]
) -> None:
    net = Net()
    x = net.quantized(net.input("x", ALL_CODES), 0.05, 120)
    net.output(net.quantized(net.op(kind, x, **attributes), 0.0331, 77))
    lowered = check(net, {"x": every_code(0.05, 120)}, step=0.0)
    assert lowered.float_fallback == ()
