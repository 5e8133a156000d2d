"""Resize in the modes that TFLite does not have, as matrix products and gathers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from support.lowering import Net, check, operators, smooth

PLACES = [
    "half_pixel",
    "pytorch_half_pixel",
    "half_pixel_symmetric",
    "align_corners",
    "asymmetric",
]
MAP = (2, 3, 6, 5)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("size", [(12, 10), (9, 7), (3, 2), (6, 1)])
@pytest.mark.parametrize("exclude", [0, 1])
def test_cubic(place: str, size: tuple[int, int], exclude: int) -> None:
    net = Net()
    y = net.op(
        "Resize",
        net.input("x", MAP),
        "",
        "",
        net.constant((*MAP[:2], *size)),
        mode="cubic",
        coordinate_transformation_mode=place,
        cubic_coeff_a=-0.5,
        exclude_outside=exclude,
    )
    names = operators(check(net.output(y), {"x": smooth(MAP)}))
    assert set(names) <= {"BATCH_MATMUL", "RESHAPE"}


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("scale", [0.4, 0.61, 1.5])
def test_antialias(mode: str, scale: float) -> None:
    net = Net()
    scales = net.constant(np.array([1, 1, scale, scale], np.float32))
    x = net.input("x", (1, 2, 12, 11))
    net.output(net.op("Resize", x, "", scales, mode=mode, antialias=1))
    check(net, {"x": smooth((1, 2, 12, 11))})


@pytest.mark.parametrize("place", PLACES)
def test_linear_by_a_scale_that_is_no_ratio_of_sizes(place: str) -> None:
    net = Net()
    scales = net.constant(np.array([1, 1, 1.3, 0.7], np.float32))
    attributes = {"mode": "linear", "coordinate_transformation_mode": place}
    net.output(net.op("Resize", net.input("x", MAP), "", scales, **attributes))
    assert "BATCH_MATMUL" in operators(check(net, {"x": smooth(MAP)}))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("before", "after"), [((2, 3, 5), (2, 3, 10)), ((1, 2, 3, 4, 5), (1, 2, 6, 8, 7))]
)
def test_lines_and_volumes(mode: str, before: tuple[int, ...], after: tuple[int, ...]) -> None:
    net = Net()
    net.output(net.op("Resize", net.input("x", before), "", "", net.constant(after), mode=mode))
    check(net, {"x": smooth(before)})


def test_int8_runs_in_float() -> None:
    net = Net()
    x = net.quantized(net.input("x", MAP), 0.05, 120)
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    y = net.quantized(net.op("Resize", x, "", scales, mode="cubic"), 0.05, 120)
    lowered = check(net.output(y), {"x": smooth(MAP)}, step=0.05)
    assert lowered.float_fallback == ("n2 (Resize): TFLite has no integer form of this mode",)


_SHARES = st.floats(-0.75, 1.75, width=32) | st.sampled_from([0.0, 1.0, 0.2, 0.6, 0.8])


@given(
    st.sampled_from(["linear", "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(_SHARES, _SHARES, _SHARES, _SHARES),
)
@settings(max_examples=150, deadline=None)
def test_crops(
    mode: str, before: tuple[int, int], after: tuple[int, int], part: tuple[float, ...]
) -> None:
    """Any part, also reversed or outside; where the sizes are equal ONNX Runtime takes all."""
    for axis in range(2):
        places = _places(before[axis], after[axis], part[axis], part[2 + axis])
        # Where a place is half way between two elements, or at the border, rounding decides.
        halves = np.abs(2 * places - np.rint(2 * places))
        assume(np.all((halves > 1e-4) | (places == np.rint(places))))
        assume(mode not in ("floor", "ceil") or np.all(halves > 1e-4))
    _check_crop(mode, before, after, part)


@pytest.mark.parametrize(
    ("before", "after", "part"),
    [((1, 3), (1, 2), (0.0, -0.5, 0.0, 0.5)), ((6, 1), (1, 1), (0.0, 0.0, 0.2, 0.0))],
    ids=["places of the runtime's own operator, one outside", "half a pixel in float32"],
)
def test_single_crops(
    before: tuple[int, int], after: tuple[int, int], part: tuple[float, ...]
) -> None:
    _check_crop("round_prefer_floor", before, after, part)


def _places(size: int, result: int, start: float, end: float) -> np.ndarray:
    if size == result:
        return np.arange(result, dtype=np.float64)
    last = size - 1
    if result == 1:
        return np.array([(start + end) / 2 * last])
    return np.linspace(start * last, end * last, result)


def _check_crop(
    mode: str, before: tuple[int, int], after: tuple[int, int], part: tuple[float, ...]
) -> None:
    net, shape = Net(), (1, 2, *before)
    roi = net.constant(np.array([0, 0, *part[:2], 1, 1, *part[2:]], np.float32))
    kind = {"mode": "linear"} if mode == "linear" else {"mode": "nearest", "nearest_mode": mode}
    y = net.op(
        "Resize",
        net.input("x", shape),
        roi,
        "",
        net.constant((1, 2, *after)),
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=9.0,
        **kind,
    )
    check(net.output(y), {"x": smooth(shape)})


@pytest.mark.parametrize("place", ["asymmetric", "half_pixel"])
@pytest.mark.parametrize("scale", [1.7, 0.6, 2.4, 0.37])
@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor"])
def test_the_nearest_of_two_elements_as_far(place: str, scale: float, rounding: str) -> None:
    """A place between two elements, such as 17 / 1.7, is one of them by a rounding of float32."""
    net = Net()
    x = net.input("x", (1, 2, 20, 51))
    options = {"coordinate_transformation_mode": place, "nearest_mode": rounding}
    scales = net.constant(np.array([1, 1, scale, scale], np.float32))
    net.output(net.op("Resize", x, "", scales, mode="nearest", **options))
    check(net, {"x": smooth((1, 2, 20, 51))})
