"""Convolutions and pools over volumes, and dilated pools over maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.lowering import Net, check, operators, smooth

pytestmark = pytest.mark.slow

VOLUME = (2, 4, 5, 6, 7)
SCALE, ZERO = 0.05, 120
small = st.integers(0, 1)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.integers(1, 3)] * 3),
    st.tuples(*[st.integers(1, 2)] * 3),
    st.tuples(*[st.integers(1, 2)] * 3),
    st.tuples(*[small] * 6),
    st.sampled_from([1, 2, 4]),
    st.booleans(),
)
def test_conv(
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[int, ...],
    group: int,
    relu: bool,
) -> None:
    rng = np.random.default_rng(0)
    net = Net()
    weight = net.constant(rng.normal(size=(8, 4 // group, *kernel)).astype(np.float32))
    bias = net.constant(rng.normal(size=8).astype(np.float32))
    y = net.op(
        "Conv",
        net.input("x", VOLUME),
        weight,
        bias,
        strides=strides,
        dilations=dilations,
        pads=pads,
        group=group,
    )
    names = operators(check(net.output(net.op("Relu", y) if relu else y), {"x": smooth(VOLUME)}))
    assert "RELU" not in names


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["MaxPool", "AveragePool"]),
    st.tuples(*[st.integers(2, 3)] * 3),
    st.tuples(*[st.integers(1, 3)] * 3),
    st.tuples(*[small] * 6),
    st.booleans(),
    st.booleans(),
)
def test_pool(
    kind: str,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    include: bool,
    int8: bool,
) -> None:
    net = Net()
    x = net.input("x", VOLUME)
    x = net.quantized(x, SCALE, ZERO) if int8 else x
    attributes = {"count_include_pad": int(include)} if kind == "AveragePool" else {}
    y = net.op(kind, x, kernel_shape=kernel, strides=strides, pads=pads, **attributes)
    net.output(net.quantized(y, SCALE, ZERO) if int8 else y)
    # Halves may go either way: above 25 elements TFLite's pool rounds them away from zero.
    check(net, {"x": smooth(VOLUME)}, step=SCALE if int8 else None)


def averaged(shape: tuple[int, ...], **attributes: object) -> Net:
    """An AveragePool in int8. The scale is a power of two, so that ONNX Runtime's sums are exact
    and halves are halves."""
    net = Net()
    x = net.quantized(net.input("x", shape), 2**-4, 120)
    return net.output(net.quantized(net.op("AveragePool", x, **attributes), 2**-4, 120))


@pytest.mark.parametrize(
    ("kernel", "strides", "attributes"),
    [
        ((1, 2, 2), (1, 2, 2), {}),
        ((1, 2, 2), (1, 1, 1), {"pads": (0, 1, 1) * 2, "count_include_pad": 1}),
        ((1, 2, 2), (1, 1, 1), {"dilations": (1, 2, 2)}),
        ((2, 1, 1), (3, 1, 1), {}),
    ],
)
def test_an_average_over_maps_or_depth_is_in_integers(
    kernel: tuple[int, ...], strides: tuple[int, ...], attributes: dict[str, object]
) -> None:
    net = averaged(VOLUME, kernel_shape=kernel, strides=strides, **attributes)
    lowered = check(net, {"x": smooth(VOLUME)}, step=0.0)
    assert operators(lowered).count("DEPTHWISE_CONV_2D") == 1
    assert not lowered.float_fallback


@pytest.mark.parametrize("kernel", [(2, 2, 2), (4, 4, 4), (2, 1, 2)])
def test_an_average_over_volumes_is_rounded_once(kernel: tuple[int, ...]) -> None:
    net = averaged(VOLUME, kernel_shape=kernel)
    lowered = check(net, {"x": smooth(VOLUME)}, step=0.0)
    assert [reason.partition(":")[0] for reason in lowered.float_fallback] == ["n2 (AveragePool)"]


def test_two_convolutions_without_a_transpose_between_them() -> None:
    net = Net()
    weight = net.constant(np.random.default_rng(0).normal(size=(4, 4, 3, 3, 3)).astype(np.float32))
    y = net.op("Conv", net.input("x", VOLUME), weight, pads=(1,) * 6)
    y = net.op("MaxPool", net.op("Relu", y), kernel_shape=(2, 2, 2), strides=(2, 2, 2))
    net.output(net.op("Conv", y, weight, pads=(1,) * 6))
    names = operators(check(net, {"x": smooth(VOLUME)}))
    assert names.count("TRANSPOSE") == 2, "at the input and the output, which keep ONNX's order"


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[st.integers(1, 2)] * 2),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[small] * 4),
    st.booleans(),
)
def test_dilated_max_pool(
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[int, ...],
    int8: bool,
) -> None:
    shape = (1, 3, 9, 8)
    pads = tuple(min(pad, kernel[axis % 2] - 1) for axis, pad in enumerate(pads))
    net = Net()
    x = net.input("x", shape)
    x = net.quantized(x, SCALE, ZERO) if int8 else x
    attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    y = net.op("MaxPool", x, dilations=dilations, **attributes)
    net.output(net.quantized(y, SCALE, ZERO) if int8 else y)
    check(net, {"x": smooth(shape)}, step=0.0 if int8 else None)


@pytest.mark.parametrize("ceil", [0, 1])
def test_a_dilated_pool_of_a_line(ceil: int) -> None:
    net = Net()
    x = net.input("x", (1, 3, 32))
    net.output(
        net.op("MaxPool", x, kernel_shape=(3,), dilations=(4,), strides=(3,), ceil_mode=ceil)
    )
    check(net, {"x": smooth((1, 3, 32))})
