"""Pools with gaps in their windows, which TFLite's pools do not have."""

from __future__ import annotations

from math import prod

import numpy as np

from edgeconv.export.tflite.builder import FLOAT, INT8
from edgeconv.export.tflite.emit.windows import Pair
from edgeconv.export.tflite.graph import ChannelQuantization, Options, Padding, Quantization, Tensor
from edgeconv.export.tflite.node_lowering import NodeLowering


def dilated_maximum(
    ctx: NodeLowering, x: Tensor, kernel: Pair, strides: Pair, dilations: Pair, size: Pair
) -> Tensor:
    """Compute the maximum along the height, then along the width of ``x``.

    Each is the maximum of one slice for every row or column of the kernel. ``x`` is N x H x W x C
    and padded.
    """
    for axis in (0, 1):
        slices = [
            _every(ctx, x, axis + 1, row * dilations[axis], strides[axis], size[axis])
            for row in range(kernel[axis])
        ]
        x = slices[0]
        for position, other in enumerate(slices[1:]):
            larger = ctx.fresh(f"maximum{axis}{position}", x.shape, x.quantization)
            ctx.builder.emit("MAXIMUM", [x, other], [larger])
            x = larger
    return x


def _every(ctx: NodeLowering, x: Tensor, axis: int, start: int, stride: int, count: int) -> Tensor:
    """``count`` rows or columns of ``x``, from ``start`` in steps of ``stride``."""
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    begin, end, step = ([*numbers] for numbers in ((0,) * 4, x.shape, (1,) * 4))
    begin[axis], end[axis], step[axis] = start, start + stride * (count - 1) + 1, stride
    numbers = [ctx.builder.integers(item, f"{ctx.name}/slice") for item in (begin, end, step)]
    taken = ctx.fresh(f"from{axis}{start}", shape, x.quantization)
    ctx.builder.emit("STRIDED_SLICE", [x, *numbers], [taken])
    return taken


def dilated_average(
    ctx: NodeLowering, x: Tensor, kernel: Pair, strides: Pair, dilations: Pair, size: Pair
) -> Tensor:
    """A DEPTHWISE_CONV_2D of ``x``, N x H x W x C and padded, with equal weights."""
    channels = x.shape[3]
    shape = (1, *kernel, channels)
    share = 1 / prod(kernel)
    builder = ctx.builder
    if ctx.integer:
        assert isinstance(x.quantization, Quantization)
        scales = np.full(channels, share / 127, FLOAT)
        products = np.full(channels, np.float32(x.quantization.scale) * scales[0], FLOAT)
        weight = builder.constant(
            np.full(shape, 127, INT8), f"{ctx.name}/share", ChannelQuantization(scales, 3)
        )
        bias = builder.constant(
            np.zeros(channels, np.int32), f"{ctx.name}/zero", ChannelQuantization(products, 0)
        )
    else:
        weight = builder.constant(np.full(shape, share, FLOAT), f"{ctx.name}/share")
        bias = builder.constant(np.zeros(channels, FLOAT), f"{ctx.name}/zero")
    options: Options = {
        "padding": Padding.VALID,
        "strideH": strides[0],
        "strideW": strides[1],
        "dilationHFactor": dilations[0],
        "dilationWFactor": dilations[1],
        "depthMultiplier": 1,
    }
    result = ctx.fresh("average", (x.shape[0], *size, channels), x.quantization)
    builder.emit("DEPTHWISE_CONV_2D", [x, weight, bias], [result], options)
    return result
