"""Operators that are written as others, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeconv.bundle import Layout
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model, check, operators, smooth
from support.runtimes import run_onnx, run_tflite

ROUNDING = 1e-4
"""Places of samples are computed in float32, and bicubic weights in an order of our own."""


def agree(net: Net, feeds: dict[str, Any], tolerance: float = ROUNDING) -> None:
    proto = net.proto()
    lowered = lower(as_model(proto), layout=Layout.NCHW)
    got = run_tflite(lowered.data, feeds)
    for name, reference in run_onnx(proto, feeds).items():
        assert got[name].shape == reference.shape
        np.testing.assert_allclose(got[name], reference, rtol=tolerance, atol=tolerance)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["linear", "nearest", "cubic"]),
    st.sampled_from(["zeros", "border", "reflection"]),
    st.booleans(),
    st.integers(1, 2),
    st.tuples(st.integers(1, 5), st.integers(2, 5)),
    st.integers(0, 99),
)
def test_grid_sample(
    mode: str, padding: str, align: bool, n: int, size: tuple[int, int], seed: int
) -> None:
    # ONNX Runtime reads beyond maps of one row or column that it reflects.
    assume(padding != "reflection" or min(size) > 1)
    net = Net()
    x, grid = net.input("x", (n, 3, *size)), net.input("grid", (n, 4, 3, 2))
    options = {"mode": mode, "padding_mode": padding, "align_corners": int(align)}
    net.output(net.op("GridSample", x, grid, **options))
    # Beyond the borders too; no place in the middle of two elements, where rounding decides.
    places = np.random.default_rng(seed).uniform(-1.8, 1.8, (n, 4, 3, 2)).astype(np.float32)
    agree(net, {"x": smooth((n, 3, *size), seed), "grid": places}, tolerance=1e-3)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_hardmax_has_one_winner(axis: int) -> None:
    net = Net()
    net.output(net.op("Hardmax", net.input("x", (2, 3, 4)), axis=axis))
    x = np.round(smooth((2, 3, 4)))  # with ties
    agree(net, {"x": x})


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("ceil", [0, 1])
def test_lp_pool(p: int, ceil: int) -> None:
    net = Net(opset=18)
    window = {"kernel_shape": (3, 2), "strides": (2, 2), "pads": (1, 0, 1, 1)}
    net.output(net.op("LpPool", net.input("x", (1, 2, 7, 6)), p=p, ceil_mode=ceil, **window))
    agree(net, {"x": smooth((1, 2, 7, 6))})


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 3, 4, 5)])
def test_global_lp_pool(p: int, shape: tuple[int, ...]) -> None:
    net = Net()
    net.output(net.op("GlobalLpPool", net.input("x", shape), p=p))
    agree(net, {"x": smooth(shape)})


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["float32", "int32"]), st.integers(0, 99))
def test_the_other_remainder(dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-20, 20, (3, 5)).astype(dtype)
    y = (rng.integers(1, 7, (3, 5)) * rng.choice([-1, 1], (3, 5))).astype(dtype)
    net = Net()
    kind = 1 if dtype == "float32" else 6
    net.output(net.op("Mod", net.input("x", x.shape, kind), net.input("y", y.shape, kind), fmod=1))
    agree(net, {"x": x, "y": y})


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("windowed", [True, False])
def test_stft_is_a_convolution(onesided: int, windowed: bool) -> None:
    net = Net()
    signal = net.input("x", (2, 40, 1))
    window = net.constant(np.hanning(16).astype(np.float32)) if windowed else ""
    net.output(net.op("STFT", signal, net.constant(8), window, net.constant(16), onesided=onesided))
    assert "CONV_2D" in operators(lower(as_model(net.proto())))
    agree(net, {"x": smooth((2, 40, 1))})


@pytest.mark.parametrize(("axis", "length"), [(1, 6), (-2, 9), (1, 4)])
@pytest.mark.parametrize("onesided", [0, 1])
def test_dft(axis: int, length: int, onesided: int) -> None:
    net = Net()
    x = net.input("x", (2, 6, 5, 1))
    net.output(net.op("DFT", x, net.constant(length), net.constant(axis), onesided=onesided))
    agree(net, {"x": smooth((2, 6, 5, 1))})


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("ceil", [0, 1])
def test_the_indices_of_a_max_pool_and_back(order: int, ceil: int) -> None:
    net = Net()
    x = net.input("x", (2, 2, 6, 4))
    window = {"kernel_shape": (2, 2), "strides": (2, 2)}
    values, places = net.op(
        "MaxPool", x, outputs=2, storage_order=order, ceil_mode=ceil, pads=(0,) * 4, **window
    )
    if not order:
        net.output(net.op("MaxUnpool", values, places, **window))
    agree(net.output(values, places), {"x": smooth((2, 2, 6, 4))})


def test_the_statistics_of_a_layer_normalization() -> None:
    net = Net()
    x = net.input("x", (2, 3, 8))
    scale, bias = net.constant(smooth((8,))), net.constant(smooth((8,), 1))
    agree(
        net.output(*net.op("LayerNormalization", x, scale, bias, outputs=3)),
        {"x": smooth((2, 3, 8))},
    )


def test_the_mask_of_a_dropout_at_inference() -> None:
    net = Net()
    check(net.output(*net.op("Dropout", net.input("x", (2, 3)), outputs=2)), {"x": smooth((2, 3))})


@pytest.mark.parametrize("axis", [None, 1])
def test_compress_by_a_constant(axis: int | None) -> None:
    net = Net()
    condition = net.constant(np.array([True, False, True]))
    options = {} if axis is None else {"axis": axis}
    y = net.op("Compress", net.input("x", (2, 3)), condition, **options)
    net.declared[y] = (2,) if axis is None else (2, 2)
    net.output(y)
    agree(net, {"x": smooth((2, 3))})


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4])
def test_determinants(size: int) -> None:
    net = Net()
    net.output(net.op("Det", net.input("x", (2, 3, size, size))))
    agree(net, {"x": smooth((2, 3, size, size))})


def test_what_runs_in_float_is_named_once_by_the_node_of_the_network() -> None:
    shape, net = (1, 3, 4, 5), Net()
    x = net.quantized(net.input("x", shape), 0.05, 128)
    y = net.op("Hardmax", x, axis=1)
    lowered = check(net.output(net.quantized(y, 1 / 255, 0)), {"x": smooth(shape)}, step=1 / 255)
    assert [line.partition(":")[0] for line in lowered.float_fallback] == ["n2 (Hardmax)"]
