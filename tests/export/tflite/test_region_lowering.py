"""Samples at computed places, crops, and transposed convolutions over volumes, against ONNX
Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.bundle import Layout
from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model, check, smooth
from support.runtimes import run_onnx, run_tflite

ROUNDING = 1e-4
"""Places are computed in float32, in an order of our own."""


def agree(net: Net, feeds: dict[str, np.ndarray], tolerance: float = ROUNDING) -> None:
    proto = net.proto()
    got = run_tflite(lower(as_model(proto), layout=Layout.NCHW).data, feeds)
    for name, reference in run_onnx(proto, feeds).items():
        assert got[name].shape == reference.shape
        np.testing.assert_allclose(got[name], reference, rtol=tolerance, atol=tolerance)


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2)),
    st.tuples(*[st.integers(0, 1)] * 6),
    st.integers(1, 2),
)
def test_a_transposed_convolution_over_a_volume(
    strides: tuple[int, ...], dilations: tuple[int, ...], pads: tuple[int, ...], group: int
) -> None:
    net = Net()
    x = net.input("x", (1, 4, 3, 4, 3))
    weight, bias = net.constant(smooth((4, 2, 3, 2, 2), 1)), net.constant(smooth((2 * group,), 2))
    options = {"strides": strides, "dilations": dilations, "pads": pads, "group": group}
    check(
        net.output(net.op("ConvTranspose", x, weight, bias, **options)),
        {"x": smooth((1, 4, 3, 4, 3))},
    )


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("end", [0.8, 1.2])
def test_a_crop_with_a_resize(mode: str, end: float) -> None:
    net = Net()
    x = net.input("x", (1, 2, 6, 5))
    roi = net.constant(np.array([0, 0, 0.2, -0.1, 1, 1, end, 0.9], np.float32))
    sizes = net.constant([1, 2, 4, 7])
    options = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    net.output(net.op("Resize", x, roi, "", sizes, mode=mode, **options))
    agree(net, {"x": smooth((1, 2, 6, 5))})


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("place", ["half_pixel", "output_half_pixel"])
def test_roi_align(largest: bool, place: str) -> None:
    net = Net()
    x = net.input("x", (2, 3, 8, 9))
    boxes = np.array([[0, 0, 7, 5], [2, 1, 3, 9], [-3, 4, 20, 6]], np.float32)
    rois, batches = net.input("rois", boxes.shape), net.constant([1, 0, 1])
    options = {"output_height": 2, "output_width": 3, "sampling_ratio": 2, "spatial_scale": 0.7}
    mode = "max" if largest else "avg"
    y = net.op(
        "RoiAlign", x, rois, batches, mode=mode, coordinate_transformation_mode=place, **options
    )
    agree(net.output(y), {"x": smooth((2, 3, 8, 9)), "rois": boxes})


def test_regions_that_decide_their_samples_are_refused() -> None:
    net = Net()
    x, rois = net.input("x", (1, 3, 8, 9)), net.input("rois", (2, 4))
    net.output(net.op("RoiAlign", x, rois, net.constant([0, 0])))
    with pytest.raises(UnsupportedOperator, match="set sampling_ratio"):
        lower(as_model(net.proto()))


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("sets", [1, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_deform_conv(group: int, sets: int, masked: bool) -> None:
    net = Net()
    x, offset = net.input("x", (2, 4, 6, 5)), net.input("offset", (2, sets * 12, 3, 4))
    weight, bias = net.constant(smooth((4, 4 // group, 3, 2), 1)), net.constant(smooth((4,), 2))
    inputs = [x, weight, offset, bias]
    feeds = {"x": smooth((2, 4, 6, 5)), "offset": smooth((2, sets * 12, 3, 4), 3)}
    if masked:
        inputs.append(net.input("mask", (2, sets * 6, 3, 4)))
        feeds["mask"] = smooth((2, sets * 6, 3, 4), 4)
    options = {"group": group, "offset_group": sets, "strides": (2, 1), "pads": (1, 0, 1, 0)}
    net.output(net.op("DeformConv", *inputs, **options))
    from onnx.reference import ReferenceEvaluator  # ONNX Runtime has no kernel for it

    proto = net.proto()
    got = run_tflite(lower(as_model(proto), layout=Layout.NCHW).data, feeds)
    (expected,) = ReferenceEvaluator(proto).run(None, feeds)
    np.testing.assert_allclose(next(iter(got.values())), expected, rtol=1e-3, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(*[st.integers(0, 1)] * 4),
)
def test_col2im(
    strides: tuple[int, int], dilations: tuple[int, int], pads: tuple[int, ...]
) -> None:
    image, block = (7, 6), (2, 3)
    counts = [
        (image[a] + pads[a] + pads[a + 2] - dilations[a] * (block[a] - 1) - 1) // strides[a] + 1
        for a in (0, 1)
    ]
    net = Net()
    x = net.input("x", (2, 12, counts[0] * counts[1]))
    options = {"strides": strides, "dilations": dilations, "pads": pads}
    net.output(net.op("Col2Im", x, net.constant([*image]), net.constant([*block]), **options))
    agree(net, {"x": smooth((2, 12, counts[0] * counts[1]))})
