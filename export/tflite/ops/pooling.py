"""MaxPool and AveragePool."""

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
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import Integer, operator
from edgeconv.export.traits import Trait, operators

NON_NEGATIVE = operators(Trait.NON_NEGATIVE)
KEEPS_SIGN = operators(Trait.KEEPS_RANGE, without=Trait.JOINS)


@operator("MaxPool", integer=Integer.MOVES)
def max_pool(ctx: NodeLowering) -> None:
    """MAX_POOL_2D; with dilations MAXIMUM of slices; over a volume two pools in a row.

    The padding must never be the maximum: TFLite's SAME padding never is, and explicit padding is
    low enough.
    """
    if len(ctx.shape(0)) == 5:
        pool_volume(ctx, "MAX_POOL_2D")
        return
    if any(step > 1 for step in ctx.attributes.get_ints("dilations", ())):
        area = _area(ctx)
        x = padded_with_lowest(ctx, map_input(ctx), area)
        pool = area.kernel, area.strides, area.dilations, area.result
        ctx.finish(dilated_maximum(ctx, x, *pool), map_result(ctx)[1])
        return
    area = _area(ctx)
    x = map_input(ctx)
    padding = area.padding
    if padding is None:
        pad = padded if _never_below_zero(ctx) else padded_with_lowest
        x, padding = pad(ctx, x, area), Padding.VALID
    ctx.emit_stored("MAX_POOL_2D", [x], *map_result(ctx), _options(area, padding))


@operator("AveragePool", integer=Integer.MOVES)
def average_pool(ctx: NodeLowering) -> None:
    """AVERAGE_POOL_2D, which divides by the number of elements inside the map.

    In int8 graphs a pool of up to 25 elements, or with dilations, is a DEPTHWISE_CONV_2D of equal
    weights, which may have a scale of its own, and one over three dimensions runs in float. Where
    ONNX counts otherwise, zeros around the map become elements of it, and a factor for each
    position corrects what a border should count less.
    """
    if len(ctx.shape(0)) == 5:
        pool_volume(ctx, "AVERAGE_POOL_2D")
        return
    area = _area(ctx)
    include = ctx.attributes.get_int("count_include_pad", 0) == 1
    x = map_input(ctx)
    plain = area.dilations == (1, 1)
    by_convolution = plain and averages_by_convolution(ctx, area)
    if by_convolution and area.padding is Padding.VALID:
        emit_average(ctx, x, area)
        return
    if plain and (area.padding is Padding.VALID or (area.padding is Padding.SAME and not include)):
        options = _options(area, area.padding)
        ctx.emit_stored("AVERAGE_POOL_2D", [x], *map_result(ctx), options)
        return
    factors = _factors(ctx, include=include)
    if ctx.integer and np.any(factors != 1):
        raise NoIntegerForm("TFLite cannot leave its padding out of the average")
    if area.padding is not Padding.VALID:
        x = padded(ctx, x, area)
    if by_convolution:
        emit_average(ctx, x, area)
        return
    shape, order = map_result(ctx)
    if area.dilations != (1, 1):
        pool = area.kernel, area.strides, area.dilations, area.result
        average = dilated_average(ctx, x, *pool)
    else:
        average = ctx.fresh("average", shape, x.quantization)
        options = _options(area, Padding.VALID)
        ctx.builder.emit("AVERAGE_POOL_2D", [x], [average], options)
    if not np.any(factors != 1):
        ctx.finish(average, order)
        return
    factor = ctx.builder.constant(factors, f"{ctx.name}/factors")
    ctx.emit_stored("MUL", [average, factor], shape, order)


def _factors(ctx: NodeLowering, *, include: bool) -> Array:
    """What makes good the zeros around the map, 1 x H x W x 1."""
    kernel = ctx.attributes.get_ints("kernel_shape", ())
    factors = border_factors(ctx, extents(ctx, kernel), kernel, include=include)
    height, width = factors.shape if factors.ndim == 2 else (1, factors.size)
    return factors.reshape(1, height, width, 1)


def _area(ctx: NodeLowering) -> Window:
    area = window(ctx, ctx.attributes.get_ints("kernel_shape", ()))
    for axis in (0, 1):
        start = (area.result[axis] - 1) * area.strides[axis] - area.low[axis]
        if start >= area.size[axis]:
            raise ctx.unsupported(
                f"its result is declared as {ctx.result_shape}, with a window behind the input",
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


def _never_below_zero(ctx: NodeLowering) -> bool:
    """Whether a zero around the input cannot exceed an element of it by mistake."""
    if ctx.integer:
        return ctx.wanted.zero_point == LOWEST
    return non_negative(ctx.value(0), ctx.builder)


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
