"""int8 convolutions over few channels, which read several pixels as one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.export.tflite import LoweredModel
from support.lowering import Net, check, operators, smooth

SCALE, ZERO = 0.05, 120


def convolution(
    size: tuple[int, ...], units: int, kernel: tuple[int, int], axis: int | None = 0, **how: object
) -> LoweredModel:
    """An int8 Conv with Relu of an input of ``size``, on both runtimes."""
    rng = np.random.default_rng(0)
    net = Net()
    x = net.quantized(net.input("x", size), SCALE, ZERO)
    weight, scales = net.int8_weight(rng.normal(0, 0.3, (units, size[1], *kernel)), axis)
    bias = net.int32_bias(rng.normal(0, 1, units), SCALE * np.broadcast_to(scales, units))
    y = net.op("Relu", net.op("Conv", x, weight, bias, **how))
    net.output(net.quantized(y, 0.04, 0))
    return check(net, {"x": smooth(size)}, step=0.04)


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(st.integers(6, 13), st.sampled_from([6, 8, 10, 12])),
    st.integers(1, 4),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.sampled_from([0, None]),
)
def test_any_window(
    size: tuple[int, int],
    channels: int,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, ...],
    axis: int | None,
) -> None:
    lowered = convolution((2, channels, *size), 5, kernel, axis, strides=strides, pads=pads)
    assert lowered.float_fallback == ()


@pytest.mark.parametrize(
    ("size", "units", "kernel", "how", "expected"),
    [
        pytest.param(
            (1, 3, 16, 16), 8, (3, 3), {"strides": (2, 2), "pads": (1, 1, 1, 1)},
            ["RESHAPE", "PAD", "CONV_2D"], id="an-image",
        ),
        pytest.param(
            (1, 1, 16, 16), 8, (5, 5), {"pads": (2, 2, 2, 2)},
            ["RESHAPE", "PAD", "CONV_2D", "RESHAPE"], id="one-channel",
        ),
        pytest.param(
            (1, 1, 49, 10), 8, (10, 4), {"strides": (2, 2), "auto_pad": "SAME_UPPER"},
            ["PAD", "RESHAPE", "CONV_2D", "RESHAPE"], id="a-spectrogram",
        ),
        pytest.param((1, 8, 16, 16), 8, (3, 3), {"strides": (2, 2)}, ["CONV_2D"], id="channels"),
        pytest.param((1, 3, 15, 15), 8, (3, 3), {"strides": (1, 1)}, ["CONV_2D"], id="odd"),
    ],
)  # fmt: skip
def test_the_operators(
    size: tuple[int, ...],
    units: int,
    kernel: tuple[int, int],
    how: dict[str, object],
    expected: list[str],
) -> None:
    assert operators(convolution(size, units, kernel, **how))[1:-1] == expected
