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
from edgeconv.export.tflite.site import Site


def per_channel_affine(site: Site, factor: Array, offset: Array) -> None:
    """factor * x + offset for each channel (axis 1) of the first input."""
    shape = site.shape(0)
    perm = channels_last(len(shape))
    order = Order.of(shape, perm)
    flat = (shape[0], prod(shape[2:]), 1, shape[1])
    pixels = permuted(shape, perm) if len(shape) == 4 else flat
    x = site.builder.arranged(site.stored(0), order, pixels)
    emit_affine(site, x, factor, offset, order)


def emit_affine(
    site: Site,
    x: Tensor,
    factor: Array,
    offset: Array,
    order: Order,
    quantization: Quantization | None = None,
) -> None:
    """A 1x1 DEPTHWISE_CONV_2D of ``x``, N x H x W x C, as the node's result.

    Args:
        factor, offset: of shape C.
        quantization: of the result in integer mode, where it is not the wanted one.
    """
    weight = _weight(site, factor)
    options: Options = {
        "padding": Padding.VALID,
        "strideH": 1,
        "strideW": 1,
        "depthMultiplier": 1,
    }
    operands = [x, weight, _offset(site, x, weight, offset)]
    site.emit_stored("DEPTHWISE_CONV_2D", operands, x.shape, order, options, quantization)


def _weight(site: Site, factor: Array) -> Tensor:
    name = f"{site.name}/factor"
    row = factor.reshape(1, 1, 1, -1)
    if not site.integer:
        return site.builder.constant(row.astype(FLOAT), name)
    scales = np.abs(factor / 127).astype(FLOAT)
    scales[scales == 0] = 1
    codes = (np.sign(row) * 127).astype(INT8)
    return site.builder.constant(codes, name, ChannelQuantization(scales, 3))


def _offset(site: Site, x: Tensor, weight: Tensor, offset: Array) -> Tensor:
    name = f"{site.name}/offset"
    if not site.integer:
        return site.builder.constant(offset.astype(FLOAT), name)
    assert isinstance(x.quantization, Quantization)
    assert isinstance(weight.quantization, ChannelQuantization)
    scales = np.float32(x.quantization.scale) * weight.quantization.scales
    limits = np.iinfo(np.int32)
    codes = np.rint(offset / scales.astype(np.float64)).clip(limits.min, limits.max)
    stated = ChannelQuantization(scales.astype(FLOAT), 0)
    return site.builder.constant(codes.astype(np.int32), name, stated)
