"""One multiplication and one addition for each channel."""

from __future__ import annotations

from math import prod

import numpy as np

from edgeconv.export.tflite.builder import FLOAT, INT8
from edgeconv.export.tflite.graph import (
    Array,
    ChannelQuantization,
    Options,
    Padding,
    Quantization,
    Tensor,
)
from edgeconv.export.tflite.layout import Order, channels_last, permuted
from edgeconv.export.tflite.node_lowering import NodeLowering

LARGEST_BIAS = 2**30  # leaves the products room in an int32


def per_channel_affine(ctx: NodeLowering, factor: Array, offset: Array) -> None:
    """Factor * x + offset for each channel (axis 1) of the first input: a 1x1 DEPTHWISE_CONV_2D."""
    shape = ctx.shape(0)
    perm = channels_last(len(shape))
    order = Order.of(shape, perm)
    flat = (shape[0], prod(shape[2:]), 1, shape[1])
    pixels = permuted(shape, perm) if len(shape) == 4 else flat
    x = ctx.builder.arranged(ctx.stored(0), order, pixels)
    if ctx.integer:
        weight, bias = _integer_operands(ctx, x, factor, offset)
    else:
        row = factor.astype(FLOAT).reshape(1, 1, 1, -1)
        weight = ctx.builder.constant(row, f"{ctx.name}/factor")
        bias = ctx.builder.constant(offset.astype(FLOAT), f"{ctx.name}/offset")
    options: Options = {
        "padding": Padding.VALID,
        "strideH": 1,
        "strideW": 1,
        "depthMultiplier": 1,
    }
    ctx.emit_stored("DEPTHWISE_CONV_2D", [x, weight, bias], x.shape, order, options)


def _integer_operands(
    ctx: NodeLowering, x: Tensor, factor: Array, offset: Array
) -> tuple[Tensor, Tensor]:
    """Codes of 64 to 127 for the factors, and the int32 biases that go with their scales.

    A factor so small that its offset would not fit beside it gets a smaller code, down to 0: the
    offset then is all there is to see of that channel.
    """
    assert isinstance(x.quantization, Quantization)
    scale = x.quantization.scale
    least = np.abs(offset) / (scale * LARGEST_BIAS)
    scales = np.maximum(np.abs(factor) / _fitting_codes(factor, offset / scale), least)
    scales = scales.astype(FLOAT)
    scales[scales == 0] = 1
    codes = np.rint(factor / scales).clip(-127, 127).astype(INT8).reshape(1, 1, 1, -1)
    products = (np.float32(scale) * scales).astype(FLOAT)
    bias = np.rint(offset / products.astype(np.float64)).astype(np.int32)
    builder = ctx.builder
    return (
        builder.constant(codes, f"{ctx.name}/factor", ChannelQuantization(scales, 3)),
        builder.constant(bias, f"{ctx.name}/offset", ChannelQuantization(products, 0)),
    )


def _fitting_codes(factor: Array, offset: Array) -> Array:
    """Choose the quantized value of each channel's factor.

    The bias of a channel is its offset in units of the product's scale, rounded. The choice brings
    that quotient closest to a whole number, because the result is off by what the rounding loses.
    """
    candidates = np.arange(127.0, 63.0, -1.0)
    steps = np.where(factor == 0, 1, np.abs(factor))
    biases = (offset / steps)[:, np.newaxis] * candidates
    lost = np.abs(biases - np.rint(biases)) / candidates
    best: Array = candidates[np.argmin(lost, axis=1)]
    return best
