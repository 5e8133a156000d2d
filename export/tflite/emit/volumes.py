"""Convolutions and pools over three spatial dimensions: depth, height, width."""

from __future__ import annotations

from math import prod

import numpy as np

from edgeconv.export.tflite.builder import FLOAT
from edgeconv.export.tflite.emit.averaging import MOST_ELEMENTS, averaging
from edgeconv.export.tflite.emit.borders import bordered
from edgeconv.export.tflite.emit.dilated import dilated_average, dilated_maximum
from edgeconv.export.tflite.emit.weights import float_bias
from edgeconv.export.tflite.emit.windows import Extents, border_factors, extents
from edgeconv.export.tflite.graph import Array, NoIntegerForm, Options, Padding, Tensor
from edgeconv.export.tflite.layout import DEPTH_CHANNELS_LAST, Order, Perm, Shape
from edgeconv.export.tflite.node_lowering import NodeLowering

OIDHW_TO_DHWIO: Perm = (2, 3, 4, 1, 0)


def convolve_volume(ctx: NodeLowering) -> None:
    """CONV_3D, which has no integer form. Groups become zeros in the weight."""
    ctx.refuse_integer("TFLite convolves volumes in float")
    real = ctx.constant(1)
    area = extents(ctx, ctx.shape(1)[2:])
    if real is None:  # ops/computed_weights.py writes groups out
        weight = ctx.tensor(1, OIDHW_TO_DHWIO)
    else:
        dense = _ungrouped(real, ctx.attributes.get_int("group", 1)).transpose(OIDHW_TO_DHWIO)
        weight = ctx.builder.constant(dense, ctx.value(1).name or f"{ctx.name}/weight")
    x = ctx.tensor(0, DEPTH_CHANNELS_LAST)
    if any(area.low) or any(area.high):
        x = _padded(ctx, x, area, 0.0)
    options: Options = {
        "padding": Padding.VALID,
        **{f"stride{axis}": step for axis, step in zip("DHW", area.strides, strict=True)},
        **{f"dilation{axis}Factor": step for axis, step in zip("DHW", area.dilations, strict=True)},
    }
    bias = float_bias(ctx, 2, weight.shape[-1])
    ctx.emit("CONV_3D", [x, weight, bias], DEPTH_CHANNELS_LAST, options)


def _ungrouped(weight: Array, group: int) -> Array:
    """OIDHW, I counted in a group, to OIDHW of all groups."""
    if group == 1:
        return weight
    outputs, inputs, *kernel = weight.shape
    whole = np.zeros((outputs, inputs * group, *kernel), weight.dtype)
    for index in range(group):
        rows = slice(index * outputs // group, (index + 1) * outputs // group)
        whole[rows, index * inputs : (index + 1) * inputs] = weight[rows]
    return whole


def pool_volume(ctx: NodeLowering, name: str) -> None:
    """Two pools, one over height and width and one over depth, on a padded volume, or one of them.

    An average over zeros at a border is made good by a factor, as for maps. One that takes two
    pools runs in float: in integers it would be rounded twice (a 2x2x2 pool: 28 dB where ONNX
    Runtime has 32), and to pool all three dimensions at once, the layers of a window have to come
    beside each other first (2x2x2 over 8x28x28x32 on a Cortex-A72, millions of instructions: 11.9,
    in float with DEQUANTIZE and QUANTIZE 0.96).
    """
    kernel = tuple(ctx.attributes.get_ints("kernel_shape", ()))
    area = extents(ctx, kernel)
    average = name == "AVERAGE_POOL_2D"
    include = ctx.attributes.get_int("count_include_pad", 0) == 1
    factors = border_factors(ctx, area, kernel, include=include) if average else np.ones(1, FLOAT)
    if ctx.integer and np.any(factors != 1):
        raise NoIntegerForm("TFLite cannot leave its padding out of the average")
    over_maps = kernel[1:], area.strides[1:], area.dilations[1:]
    over_depth = (kernel[0], 1), (area.strides[0], 1), (area.dilations[0], 1)
    if average and not _is_nothing(*over_maps[:2]) and not _is_nothing(*over_depth[:2]):
        ctx.refuse_integer("an average over three dimensions would be rounded twice in integers")
    x = ctx.tensor(0, DEPTH_CHANNELS_LAST)
    if any(area.low) or any(area.high):
        x = _padded(ctx, x, area, 0.0 if average else float(np.finfo(FLOAT).min))
    n, depth, height, width, channels = x.shape
    after = (n, *area.result, channels)
    maps = ctx.builder.reshape(x, (n * depth, height, width, channels))
    flat = _pooled(ctx, name, maps, *over_maps, after[2:4])
    lines = ctx.builder.reshape(flat, (n, depth, prod(after[2:4]), channels))
    pooled = _pooled(ctx, name, lines, *over_depth, (after[1], lines.shape[2]))
    result = ctx.builder.reshape(pooled, after)
    if np.any(factors != 1):
        whole = ctx.fresh("whole", after)
        counted = factors.reshape(1, *factors.shape, 1)
        factor = ctx.builder.constant(counted, f"{ctx.name}/factors")
        ctx.builder.emit("MUL", [result, factor], [whole])
        result = whole
    ctx.finish(result, Order.of(ctx.result_shape, DEPTH_CHANNELS_LAST))


def _is_nothing(kernel: Shape, strides: Shape) -> bool:
    return kernel == strides == (1, 1)


def _pooled(
    ctx: NodeLowering,
    name: str,
    x: Tensor,
    kernel: Shape,
    strides: Shape,
    dilations: Shape,
    size: Shape,
) -> Tensor:
    if _is_nothing(kernel, strides):
        return x
    if dilations != (1, 1):
        pool = dilated_maximum if name == "MAX_POOL_2D" else dilated_average
        (a, b), (c, d), (e, f), (g, h) = kernel, strides, dilations, size
        return pool(ctx, x, (a, b), (c, d), (e, f), (g, h))
    shape = (x.shape[0], *size, x.shape[3])
    result = ctx.fresh(f"pool{kernel[0]}x{kernel[1]}", shape, x.quantization)
    if ctx.integer and name == "AVERAGE_POOL_2D" and prod(kernel) <= MOST_ELEMENTS:
        operands, options = averaging(ctx, x, (kernel[0], kernel[1]), (strides[0], strides[1]))
        ctx.builder.emit("DEPTHWISE_CONV_2D", operands, [result], options)
        return result
    options = {
        "padding": Padding.VALID,
        "strideH": strides[0],
        "strideW": strides[1],
        "filterHeight": kernel[0],
        "filterWidth": kernel[1],
    }
    ctx.builder.emit(name, [x], [result], options)
    return result


def _padded(ctx: NodeLowering, x: Tensor, area: Extents, number: float) -> Tensor:
    """``x`` with ``number`` around it: in integers its code, or the lowest for the lowest."""
    pairs = [(0, 0), *zip(area.low, area.high, strict=True), (0, 0)]
    if number == 0:
        return bordered(ctx, x, pairs)
    lowest = np.array(-128, np.int8) if ctx.integer else np.array(number, FLOAT)
    return bordered(ctx, x, pairs, lowest)
