"""Pools over windows, and over whole maps."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.builder import Builder
from edgeconv.export.tflite.emit.averaging import averages_by_convolution, emit_average
from edgeconv.export.tflite.emit.dilated import dilated_average, dilated_maximum
from edgeconv.export.tflite.emit.volumes import pool_volume
from edgeconv.export.tflite.emit.windows import (
    Window,
    border_factors,
    extents,
    map_input,
    map_result,
    padded,
    padded_with_lowest,
    window,
)
from edgeconv.export.tflite.fusion import LOWEST, bounds
from edgeconv.export.tflite.graph import Array, NoIntegerForm, Options, Padding
from edgeconv.export.tflite.node_lowering import Site
from edgeconv.export.tflite.registry import Integer, operator

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
        area = _area(site)
        x = padded_with_lowest(site, map_input(site), area)
        pool = area.kernel, area.strides, area.dilations, area.result
        site.finish(dilated_maximum(site, x, *pool), map_result(site)[1])
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
    """AVERAGE_POOL_2D, which divides by the number of elements inside the map; with dilations, and
    in int8 up to 25 elements, a DEPTHWISE_CONV_2D of equal weights; over three dimensions in float.

    Where ONNX counts otherwise, zeros around the map become elements of it, and a factor for each
    position makes good what a border should count less.
    """
    if len(site.shape(0)) == 5:
        pool_volume(site, "AVERAGE_POOL_2D")
        return
    area = _area(site)
    include = site.integer_attribute("count_include_pad", 0) == 1
    x = map_input(site)
    plain = area.dilations == (1, 1)
    by_convolution = plain and averages_by_convolution(site, area)
    if by_convolution and area.padding is Padding.VALID:
        emit_average(site, x, area)
        return
    if plain and (area.padding is Padding.VALID or (area.padding is Padding.SAME and not include)):
        options = _options(area, area.padding)
        site.emit_stored("AVERAGE_POOL_2D", [x], *map_result(site), options)
        return
    factors = _factors(site, include=include)
    if site.integer and np.any(factors != 1):
        raise NoIntegerForm("TFLite cannot leave its padding out of the average")
    if area.padding is not Padding.VALID:
        x = padded(site, x, area)
    if by_convolution:
        emit_average(site, x, area)
        return
    shape, order = map_result(site)
    if area.dilations != (1, 1):
        pool = area.kernel, area.strides, area.dilations, area.result
        average = dilated_average(site, x, *pool)
    else:
        average = site.fresh("average", shape, x.quantization)
        options = _options(area, Padding.VALID)
        site.builder.emit("AVERAGE_POOL_2D", [x], [average], options)
    if not np.any(factors != 1):
        site.finish(average, order)
        return
    factor = site.builder.constant(factors, f"{site.name}/factors")
    site.emit_stored("MUL", [average, factor], shape, order)


def _factors(site: Site, *, include: bool) -> Array:
    """What makes good the zeros around the map, 1 x H x W x 1."""
    kernel = site.integers_attribute("kernel_shape", ())
    factors = border_factors(site, extents(site, kernel), kernel, include=include)
    height, width = factors.shape if factors.ndim == 2 else (1, factors.size)
    return factors.reshape(1, height, width, 1)


def _area(site: Site) -> Window:
    area = window(site, site.integers_attribute("kernel_shape", ()))
    for axis in (0, 1):
        start = (area.result[axis] - 1) * area.strides[axis] - area.low[axis]
        if start >= area.size[axis]:
            raise site.unsupported(
                f"its result is declared as {site.result_shape}, with a window behind the input",
                "ONNX leaves such windows out: correct the declared shape",
            )
    return area


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
