"""Resize."""

from __future__ import annotations

import numpy as np

from edgeconv.export.tflite.graph import Array, Options
from edgeconv.export.tflite.layout import CHANNELS_LAST, Order
from edgeconv.export.tflite.registry import Integer, operator
from edgeconv.export.tflite.site import Site

HALF_PIXEL = {"half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"}


@operator("Resize", integer=Integer.MOVES)
def resize(site: Site) -> None:
    """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR where they place their samples as ONNX does,
    else a GATHER for nearest neighbors in each axis.

    Raises:
        UnsupportedOperator: another mode, or another axis than height and width.
    """
    before, after = site.shape(0), site.result_shape
    axes = site.integers_attribute("axes", ())
    if len(before) != 4 or before[:2] != after[:2] or list(axes) != sorted(axes):
        raise site.unsupported(
            f"it resizes {before} to {after}", "only height and width of a map can be resized"
        )
    if before == after:
        site.same(0)
        return
    mode = site.string_attribute("mode", "nearest")
    place = site.string_attribute("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest":
        _nearest(site, place)
    elif mode == "linear":
        _linear(site, place)
    else:
        raise site.unsupported(f"mode is {mode}", "use nearest or linear")


def _linear(site: Site, place: str) -> None:
    if site.integer_attribute("antialias", 0):
        raise site.unsupported("antialias is 1", "set it to 0")
    known = {"align_corners", "asymmetric", *HALF_PIXEL}
    if place not in known or (place == "pytorch_half_pixel" and 1 in site.result_shape[2:]):
        raise site.unsupported(f"coordinate_transformation_mode is {place}", "use half_pixel")
    _demand_whole_sizes(site)
    options: Options = {
        "alignCorners": place == "align_corners",
        "halfPixelCenters": place in HALF_PIXEL,
    }
    _emit(site, "RESIZE_BILINEAR", options)


def _demand_whole_sizes(site: Site) -> None:
    """TFLite samples by the sizes; ONNX by a scale, if that is what the node states."""
    before, after = site.shape(0)[2:], site.result_shape[2:]
    for scale, size, result in zip(_scales(site), before, after, strict=True):
        if abs(scale * size - result) > 1e-3:
            raise site.unsupported(
                f"{size} times {scale:g} is not a whole number, and TFLite samples by {result}",
                "give the size instead of the scale",
            )


def _nearest(site: Site, place: str) -> None:
    before, after = site.shape(0)[2:], site.result_shape[2:]
    if place in ("align_corners", "half_pixel_symmetric"):
        _demand_whole_sizes(site)
    rows, columns = (
        _sources(site, place, *numbers)
        for numbers in zip(_scales(site), before, after, strict=True)
    )
    floor = [np.arange(result) * size // result for size, result in zip(before, after, strict=True)]
    if np.array_equal(rows, floor[0]) and np.array_equal(columns, floor[1]):
        _emit(site, "RESIZE_NEAREST_NEIGHBOR", {"alignCorners": False, "halfPixelCenters": False})
        return
    x = site.tensor(0, CHANNELS_LAST)
    for axis, taken in ((1, rows), (2, columns)):
        shape = (*x.shape[:axis], len(taken), *x.shape[axis + 1 :])
        result = site.fresh(f"axis{axis}", shape, x.quantization)
        indices = site.builder.integers(taken, f"{result.name}/indices")
        site.builder.emit("GATHER", [x, indices], [result], {"axis": axis})
        x = result
    site.finish(x, Order.of(site.result_shape, CHANNELS_LAST))


def _sources(site: Site, place: str, scale: float, size: int, result: int) -> Array:
    """The element that each element of the result takes, along one axis."""
    at = np.arange(result, dtype=np.float64)
    if place in HALF_PIXEL:
        source = (at + 0.5) / scale - 0.5
        if place == "pytorch_half_pixel" and result == 1:
            source = np.zeros(1)
    elif place == "align_corners":
        source = at * (size - 1) / max(result - 1, 1)
    elif place == "asymmetric":
        source = at / scale
    else:
        raise site.unsupported(f"coordinate_transformation_mode is {place}", "use half_pixel")
    rounding = site.string_attribute("nearest_mode", "round_prefer_floor")
    rounded = {
        "round_prefer_floor": np.ceil(source - 0.5),
        "round_prefer_ceil": np.floor(source + 0.5),
        "floor": np.floor(source),
        "ceil": np.ceil(source),
    }[rounding]
    return rounded.clip(0, size - 1).astype(np.int32)


def _scales(site: Site) -> tuple[float, float]:
    """Result over input, for height and width: as stated, else by the sizes."""
    before, after = site.shape(0)[2:], site.result_shape[2:]
    if site.has(2) and not site.has(3):
        stated = site.demand_constant(2, "scales")
        return float(stated[-2]), float(stated[-1])
    return after[0] / before[0], after[1] / before[1]


def _emit(site: Site, name: str, options: Options) -> None:
    size = site.builder.integers(site.result_shape[2:], f"{site.name}/size")
    site.emit(name, [site.tensor(0, CHANNELS_LAST), size], CHANNELS_LAST, options)
