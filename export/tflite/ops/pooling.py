"""Pools over windows, and over whole maps."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.builder import FLOAT, Builder
from edgeconv.export.tflite.fusion import LOWEST, bounds
from edgeconv.export.tflite.graph import Array, Options, Padding, Tensor
from edgeconv.export.tflite.ops.volumes import pool_volume
from edgeconv.export.tflite.ops.windows import (
    Window,
    map_input,
    map_result,
    padded,
    padded_with_lowest,
    window,
)
from edgeconv.export.tflite.registry import Integer, NoIntegerForm, operator
from edgeconv.export.tflite.site import Site

NON_NEGATIVE = {"Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp", "Sqrt"}
KEEPS_SIGN = {"MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Transpose", "Identity"}


@operator("MaxPool", integer=Integer.MOVES)
def max_pool(site: Site) -> None:
    """MAX_POOL_2D. Its SAME padding never wins; explicit padding must not either. With dilations,
    MAXIMUM of slices; over a volume, two pools one after the other."""
    if len(site.shape(0)) == 5:
        pool_volume(site, "MAX_POOL_2D")
        return
    if any(step > 1 for step in site.integers_attribute("dilations", ())):
        _dilated(site)
        return
    area = _area(site)
    x = map_input(site)
    padding = area.padding
    if padding is None:
        pad = padded if _never_below_zero(site) else padded_with_lowest
        x, padding = pad(site, x, area), Padding.VALID
    site.emit_stored("MAX_POOL_2D", [x], *map_result(site), _options(area, padding))


@operator("AveragePool", integer=Integer.MOVES)
def average_pool(site: Site) -> None:
    """AVERAGE_POOL_2D, which divides by the number of elements inside the map.

    Where ONNX counts otherwise, zeros around the map become elements of it, and a factor for each
    position makes good what a border should count less.
    """
    if len(site.shape(0)) == 5:
        pool_volume(site, "AVERAGE_POOL_2D")
        return
    area = _area(site)
    include = site.integer_attribute("count_include_pad", 0) == 1
    x = map_input(site)
    if area.padding is Padding.VALID or (area.padding is Padding.SAME and not include):
        options = _options(area, area.padding)
        site.emit_stored("AVERAGE_POOL_2D", [x], *map_result(site), options)
        return
    factors = _border_factors(site, area, include=include)
    if site.integer and np.any(factors != 1):
        raise NoIntegerForm("TFLite cannot leave its padding out of the average")
    x = padded(site, x, area)
    options = _options(area, Padding.VALID)
    if not np.any(factors != 1):
        site.emit_stored("AVERAGE_POOL_2D", [x], *map_result(site), options)
        return
    shape, order = map_result(site)
    sums = site.fresh("average", shape)
    site.builder.emit("AVERAGE_POOL_2D", [x], [sums], options)
    factor = site.builder.constant(factors, f"{site.name}/factors")
    site.emit_stored("MUL", [sums, factor], shape, order)


def _dilated(site: Site) -> None:
    """The maximum along the height, then along the width, each of one slice for every row or
    column of the kernel."""
    area = _area(site)
    x = padded_with_lowest(site, map_input(site), area)
    for axis in (1, 2):
        rows, step, stride = (
            item[axis - 1] for item in (area.kernel, area.dilations, area.strides)
        )
        count = area.result[axis - 1]
        slices = [_every(site, x, axis, row * step, stride, count) for row in range(rows)]
        x = slices[0]
        for position, other in enumerate(slices[1:]):
            larger = site.fresh(f"maximum{axis}{position}", x.shape, x.quantization)
            site.builder.emit("MAXIMUM", [x, other], [larger])
            x = larger
    site.finish(x, map_result(site)[1])


def _every(site: Site, x: Tensor, axis: int, start: int, stride: int, count: int) -> Tensor:
    """``count`` rows or columns of ``x``, from ``start`` in steps of ``stride``."""
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    begin, end, step = ([*numbers] for numbers in ((0,) * 4, x.shape, (1,) * 4))
    begin[axis], end[axis], step[axis] = start, start + stride * (count - 1) + 1, stride
    numbers = [site.builder.integers(item, f"{site.name}/slice") for item in (begin, end, step)]
    taken = site.fresh(f"from{axis}{start}", shape, x.quantization)
    site.builder.emit("STRIDED_SLICE", [x, *numbers], [taken])
    return taken


def _area(site: Site) -> Window:
    area = window(site, site.integers_attribute("kernel_shape", ()))
    if area.dilations != (1, 1) and site.node.op_type == "AveragePool":
        raise site.unsupported(f"dilations are {area.dilations}", "use dilation 1")
    for axis in (0, 1):
        start = (area.result[axis] - 1) * area.strides[axis] - area.low[axis]
        if start >= area.size[axis]:
            raise site.unsupported(
                f"its result is declared as {site.result_shape}, with a window behind the input",
                "ONNX leaves such windows out: correct the declared shape",
            )
    return area


def _border_factors(site: Site, area: Window, *, include: bool) -> Array:
    """Kernel size over the number of elements that count, 1 x H x W x 1."""
    rank = len(site.shape(0)) - 2
    pads = site.integers_attribute("pads", (0,) * (2 * rank))
    counts = []
    for axis in (0, 1):
        declared = pads[axis - 2 + 2 * rank] if axis >= 2 - rank else 0
        behind = declared if include else 0
        before = area.low[axis] if include else 0
        first = np.arange(area.result[axis]) * area.strides[axis] - area.low[axis]
        last = np.minimum(first + area.kernel[axis], area.size[axis] + behind)
        counts.append(last - np.maximum(first, -before))
    inside = np.outer(*counts)
    return (np.prod(area.kernel) / inside).astype(FLOAT)[np.newaxis, :, :, np.newaxis]


def _options(area: Window, padding: Padding) -> Options:
    return {
        "padding": padding,
        "strideH": area.strides[0],
        "strideW": area.strides[1],
        "filterHeight": area.kernel[0],
        "filterWidth": area.kernel[1],
    }


def _never_below_zero(site: Site) -> bool:
    """Whether a zero around the input cannot exceed an element of it by mistake."""
    if site.integer:
        return site.wanted.zero_point == LOWEST
    return non_negative(site.value(0), site.builder)


def non_negative(value: ir.Value, builder: Builder) -> bool:
    """Whether the producer of ``value`` rules out negative elements."""
    node = value.producer()
    if node is None:
        return False
    if node.op_type in NON_NEGATIVE:
        return True
    limits = bounds(node, builder)
    if limits is not None and limits[0] >= 0:
        return True
    source = node.inputs[0] if node.inputs else None
    return node.op_type in KEEPS_SIGN and source is not None and non_negative(source, builder)
