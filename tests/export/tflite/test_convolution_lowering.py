"""Conv, float and int8, against ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.bundle import Layout
from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model, check, operators, smooth
from support.runtimes import run_onnx, run_tflite


@dataclass(frozen=True)
class Case:
    batch: int
    group: int
    inputs: int
    outputs: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    bias: bool
    activation: str
    seed: int

    @property
    def channels(self) -> int:
        return self.group * self.inputs

    def weight(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        shape = (self.group * self.outputs, self.inputs, *self.kernel)
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    def attributes(self) -> dict[str, object]:
        return {
            "group": self.group,
            "strides": self.strides,
            "dilations": self.dilations,
            "pads": self.pads,
        }


@st.composite
def cases(draw: st.DrawFn) -> Case:
    def pair(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    kernel, dilations = pair(1, 3), pair(1, 2)
    strides = pair(1, 3)
    group, inputs, outputs = draw(
        st.sampled_from([(1, 3, 4), (1, 1, 2), (4, 1, 1), (3, 1, 2), (2, 2, 3), (4, 2, 1)])
    )
    return Case(
        batch=draw(st.sampled_from([1, 2])),
        group=group,
        inputs=inputs,
        outputs=outputs,
        size=pair(5, 9),
        kernel=kernel,
        strides=strides,
        # TFLite's kernels, like TensorFlow's, take no strides together with dilations.
        dilations=dilations if strides == (1, 1) else (1, 1),
        pads=draw(st.tuples(*[st.integers(0, 2)] * 4)),
        bias=draw(st.booleans()),
        activation=draw(st.sampled_from(["", "Relu", "Relu6", "Clip"])),
        seed=draw(st.integers(0, 99)),
    )


def activated(net: Net, value: str, kind: str) -> str:
    bounds = {"Relu6": (0.0, 6.0), "Clip": (-0.25, 0.5)}
    if kind in bounds:
        low, high = (net.constant(np.float32(bound)) for bound in bounds[kind])
        return str(net.op("Clip", value, low, high))
    return str(net.op(kind, value)) if kind else value


@settings(max_examples=40, deadline=None)
@given(cases(), st.sampled_from(Layout))
def test_float(case: Case, layout: Layout) -> None:
    net = Net()
    x = net.input("x", (case.batch, case.channels, *case.size))
    operands = [x, net.constant(case.weight())]
    if case.bias:
        operands.append(net.constant(smooth((case.group * case.outputs,), case.seed)))
    y = activated(net, net.op("Conv", *operands, **case.attributes()), case.activation)
    net.output(y)
    feeds = {"x": smooth((case.batch, case.channels, *case.size), case.seed)}
    lowered = check(net, feeds, layout=layout)
    assert lowered.float_fallback == ()
    if layout is Layout.NHWC:
        assert "TRANSPOSE" not in operators(lowered)


def int8_net(case: Case, *, dtype: str, per_channel: bool) -> Net:
    net = Net()
    x = net.input("x", (case.batch, case.channels, *case.size))
    scale = 0.03
    shift = 0 if dtype == "int8" else 128
    x = net.quantized(x, scale, 7 + shift, dtype)
    weight, scales = net.int8_weight(case.weight(), 0 if per_channel else None)
    operands = [x, weight]
    if case.bias:
        bias = smooth((case.group * case.outputs,), case.seed)
        operands.append(net.int32_bias(bias, np.float32(scale) * scales))
    y = activated(net, net.op("Conv", *operands, **case.attributes()), case.activation)
    net.output(net.quantized(y, 0.02, -20 + shift, dtype))
    return net


@settings(max_examples=40, deadline=None)
@given(cases(), st.sampled_from(["int8", "uint8"]), st.booleans())
def test_int8(case: Case, dtype: str, per_channel: bool) -> None:
    feeds = {"x": smooth((case.batch, case.channels, *case.size), case.seed)}
    lowered = check(int8_net(case, dtype=dtype, per_channel=per_channel), feeds, step=0.02)
    assert lowered.float_fallback == ()
    names = operators(lowered)
    assert names[0] == "QUANTIZE"
    assert names[-1] == "DEQUANTIZE"
    assert names.count("QUANTIZE") == names.count("DEQUANTIZE") == 1


PLAIN = Case(1, 1, 3, 4, (8, 8), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), True, "", 0)


def float_net(attributes: dict[str, object], size: tuple[int, ...] = (8, 8)) -> Net:
    net = Net()
    x = net.input("x", (1, 3, *size))
    weight = smooth((4, 3, *(3,) * len(size)))
    return net.output(net.op("Conv", x, net.constant(weight), **attributes))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_auto_pad(mode: str, stride: int) -> None:
    net = float_net({"auto_pad": mode, "strides": (stride, stride)})
    lowered = check(net, {"x": smooth((1, 3, 8, 8))})
    if mode != "SAME_LOWER":
        assert operators(lowered) == ["CONV_2D"]


def test_symmetric_padding_at_stride_1_is_same() -> None:
    lowered = check(float_net({"pads": (1, 1, 1, 1)}), {"x": smooth((1, 3, 8, 8))})
    assert operators(lowered) == ["CONV_2D"]


def test_symmetric_padding_at_stride_2_is_a_pad() -> None:
    net = float_net({"pads": (1, 1, 1, 1), "strides": (2, 2)})
    assert operators(check(net, {"x": smooth((1, 3, 8, 8))})) == ["PAD", "CONV_2D"]


def test_one_spatial_dimension() -> None:
    lowered = check(float_net({"pads": (1, 1)}, (9,)), {"x": smooth((1, 3, 9))})
    assert operators(lowered).count("CONV_2D") == 1


def test_four_spatial_dimensions_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedOperator, match=r"n0 \(Conv\).*4 spatial dimensions"):
        lower(as_model(float_net({}, (5, 5, 5, 5)).proto()))


@pytest.mark.parametrize("kind", ["Relu", "Relu6"])
def test_activations_are_fused(kind: str) -> None:
    net = Net()
    x = net.input("x", (1, 3, 8, 8))
    y = net.op("Conv", x, net.constant(PLAIN.weight()), pads=PLAIN.pads)
    net.output(activated(net, y, kind))
    assert operators(check(net, {"x": 4 * smooth((1, 3, 8, 8))})) == ["CONV_2D"]


def test_an_asymmetric_weight_runs_in_float_and_says_so() -> None:
    net = Net()
    x = net.quantized(net.input("x", (1, 3, 8, 8)), 0.03, 128)
    weight = np.random.default_rng(0).integers(0, 255, (4, 3, 3, 3)).astype(np.uint8)
    parameters = net.constant(np.float32(0.01)), net.constant(np.array(100, np.uint8))
    w = net.op("DequantizeLinear", net.constant(weight), *parameters)
    net.output(net.quantized(net.op("Conv", x, w), 0.1, 128))
    lowered = check(net, {"x": smooth((1, 3, 8, 8))}, step=0.1)
    (reason,) = lowered.float_fallback
    assert reason.startswith("n3 (Conv): its weight v2_0 has a zero point")


def test_a_bias_of_another_scale_is_requantized() -> None:
    net = Net()
    x = net.quantized(net.input("x", (1, 3, 8, 8)), 0.03, 128)
    weight, _ = net.int8_weight(PLAIN.weight(), 0)
    bias = net.int32_bias(smooth((4,)), np.float32(1e-5))
    net.output(net.quantized(net.op("Conv", x, weight, bias), 0.02, 128))
    lowered = check(net, {"x": smooth((1, 3, 8, 8))}, step=0.02)
    assert lowered.float_fallback == ()


def test_a_float_bias_is_quantized() -> None:
    net = Net()
    x = net.quantized(net.input("x", (1, 3, 8, 8)), 0.03, 128)
    weight, _ = net.int8_weight(PLAIN.weight(), 0)
    y = net.op("Conv", x, weight, net.constant(smooth((4,))))
    net.output(net.quantized(y, 0.02, 128))
    assert check(net, {"x": smooth((1, 3, 8, 8))}, step=0.02).float_fallback == ()


def test_a_shared_weight_is_stored_once() -> None:
    net = Net()
    x = net.input("x", (1, 4, 8, 8))
    weight = net.constant(smooth((64, 4, 3, 3)))
    first = net.op("Conv", x, weight)
    second = net.op("Conv", net.op("Relu", x), weight)
    net.output(first, second)
    assert len(check(net, {"x": smooth((1, 4, 8, 8))}).data) < 64 * 4 * 9 * 4 * 1.5


def test_a_sum_that_cancels_is_as_exact_as_float32_allows() -> None:
    """Where weights and bias cancel a thousandfold, two runtimes differ by more than 1e-5 of the
    result: each is off by a few roundings of the largest partial sum, and they sum in another
    order. The head of mobilenetv4_hybrid_medium with drawn weights is such a convolution: products
    of 8000 in all leave 6. PyTorch, ONNX Runtime and LiteRT are 2.7e-5, 2.4e-5 and 5.8e-5 from
    float64 behind it."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (1, 960, 1, 1)).astype(np.float32)
    weight = rng.normal(0, 12, (64, 960, 1, 1)).astype(np.float32)
    products = weight.astype(np.float64).reshape(64, 960) * x.reshape(960)
    bias = (rng.normal(0, 1, 64) - products.sum(axis=1)).astype(np.float32)
    expected = products.sum(axis=1) + bias
    magnitude = np.abs(products).sum(axis=1) + np.abs(bias)
    assert magnitude.max() > 1000 * np.abs(expected).max()
    net = Net()
    net.output(net.op("Conv", net.input("x", x.shape), net.constant(weight), net.constant(bias)))
    proto = net.proto()
    (theirs,) = run_onnx(proto, {"x": x}).values()
    (ours,) = run_tflite(lower(as_model(proto)).data, {"x": x.reshape(1, 1, 1, 960)}).values()
    # Rounding errors of a sum grow like a random walk: 960 additions, each of half an epsilon.
    limit = 0.5 * np.finfo(np.float32).eps * np.sqrt(960) * magnitude
    for result in (theirs, ours):
        assert np.all(np.abs(result.reshape(64) - expected) <= limit)
