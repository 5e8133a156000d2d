"""Pools and reductions against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeconv.bundle import Layout
from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model, check, operators, smooth

SIZE = (1, 3, 9, 10)


@st.composite
def windows(draw: st.DrawFn) -> dict[str, tuple[int, ...]]:
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    # ONNX Runtime refuses padding as wide as the window.
    pads = tuple(draw(st.integers(0, size - 1)) for size in kernel * 2)
    return {
        "kernel_shape": kernel,
        "strides": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "pads": pads,
    }


@settings(max_examples=25, deadline=None)
@given(windows(), st.booleans(), st.booleans())
def test_max_pool_float(window: dict[str, tuple[int, ...]], relu: bool, ceil: bool) -> None:
    net = Net()
    x = net.input("x", SIZE)
    x = net.op("Relu", x) if relu else x
    net.output(net.op("MaxPool", x, ceil_mode=int(ceil), **window))
    # ONNX's shape inference counts windows that start behind the input, its runtimes do not.
    assume(not ceil or (not any(window["pads"]) and max(window["strides"]) == 1))
    # Below zero everywhere, so that a zero from the padding would win.
    check(net, {"x": smooth(SIZE) - 5})


@settings(max_examples=25, deadline=None)
@given(windows(), st.sampled_from([0, 40, 128, 255]))
def test_max_pool_int8(window: dict[str, tuple[int, ...]], zero_point: int) -> None:
    net = Net()
    x = net.quantized(net.input("x", SIZE), 0.05, zero_point)
    net.output(net.quantized(net.op("MaxPool", x, **window), 0.05, zero_point))
    lowered = check(net, {"x": smooth(SIZE) - 1}, step=0.0)
    assert lowered.float_fallback == ()


@pytest.mark.parametrize("count", [3, 6])
def test_a_mean_that_is_not_quantized_stays_in_float(count: int) -> None:
    """It would be rounded to the scale of what it is of, coarser than the mean itself."""
    net = Net()
    x = net.quantized(net.input("x", SIZE), 0.05, 100)
    net.output(net.op("AveragePool", x, kernel_shape=(count, count)))
    lowered = check(net, {"x": smooth(SIZE)})
    assert "its result is not quantized" in lowered.float_fallback[0]


@settings(max_examples=25, deadline=None)
@given(windows(), st.booleans())
def test_average_pool(window: dict[str, tuple[int, ...]], int8: bool) -> None:
    net = Net()
    x = net.input("x", SIZE)
    x = net.quantized(x, 0.05, 100) if int8 else x
    y = net.op("AveragePool", x, count_include_pad=1, **window)
    net.output(net.quantized(y, 0.05, 100) if int8 else y)
    lowered = check(net, {"x": smooth(SIZE)}, step=0.05 if int8 else None)
    assert lowered.float_fallback == ()


def test_a_window_behind_the_input_is_refused() -> None:
    net = Net()
    x = net.input("x", (1, 3, 10, 10))
    net.output(net.op("MaxPool", x, kernel_shape=(1, 1), strides=(2, 2), ceil_mode=1))
    with pytest.raises(UnsupportedOperator, match="a window behind the input"):
        lower(as_model(net.proto()))


def test_average_pool_that_leaves_padding_out_is_same() -> None:
    net = Net()
    x = net.input("x", SIZE)
    net.output(net.op("AveragePool", x, kernel_shape=(3, 3), pads=(1, 1, 1, 1)))
    assert operators(check(net, {"x": smooth(SIZE)})) == ["AVERAGE_POOL_2D"]


@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 1, 1, 0), (1, 0, 0, 0)])
@pytest.mark.parametrize("int8", [False, True])
def test_average_pool_that_leaves_padding_out(pads: tuple[int, ...], int8: bool) -> None:
    net = Net()
    x = net.input("x", SIZE)
    x = net.quantized(x, 0.05, 100) if int8 else x
    y = net.op("AveragePool", x, kernel_shape=(3, 3), strides=(2, 2), pads=pads)
    net.output(net.quantized(y, 0.05, 100) if int8 else y)
    check(net, {"x": smooth(SIZE)}, step=0.05 if int8 else None)


@pytest.mark.parametrize("scale", [0.05, 0.01])
def test_global_average_pool_int8(scale: float) -> None:
    net = Net()
    x = net.quantized(net.input("x", SIZE), 0.05, 100)
    net.output(net.quantized(net.op("GlobalAveragePool", x), scale, 90))
    lowered = check(net, {"x": smooth(SIZE)}, step=scale)
    assert operators(lowered) == ["QUANTIZE", "MEAN", "DEQUANTIZE"]


@settings(max_examples=25, deadline=None)
@given(
    st.sets(st.integers(-4, 3), min_size=1),
    st.booleans(),
    st.sampled_from(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"]),
    st.sampled_from(Layout),
)
def test_reductions(axes: set[int], keep: bool, kind: str, layout: Layout) -> None:
    net = Net()
    # Behind a pool the values lie with their channels last.
    x = net.op("MaxPool", net.input("x", SIZE), kernel_shape=(1, 1))
    distinct = {axis % 4: axis for axis in axes}
    axes_input = net.constant(np.array(list(distinct.values()), np.int64))
    net.output(net.op(kind, x, axes_input, keepdims=int(keep)))
    check(net, {"x": smooth(SIZE) + 1}, layout=layout)
