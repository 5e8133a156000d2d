"""Conv, over lines, maps and volumes."""

from __future__ import annotations

from math import prod

from edgeconv.export.tflite.builder import Constant
from edgeconv.export.tflite.channel_order import channel_permutation, consumer_order
from edgeconv.export.tflite.emit.averaging import MOST_ELEMENTS
from edgeconv.export.tflite.emit.folding import emit_folded, fold
from edgeconv.export.tflite.emit.volumes import convolve_volume
from edgeconv.export.tflite.emit.weights import (
    float_bias,
    integer_bias,
    integer_weights,
    weight_tensor,
)
from edgeconv.export.tflite.emit.windows import as_map, map_input, map_result, padded, window
from edgeconv.export.tflite.forms import Form
from edgeconv.export.tflite.graph import (
    Array,
    ChannelQuantization,
    Options,
    Padding,
    Tensor,
)
from edgeconv.export.tflite.layout import Order, Perm, permuted
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import Integer, operator

OIHW_TO_OHWI: Perm = (0, 2, 3, 1)
OIHW_TO_IHWO: Perm = (1, 2, 3, 0)
"""The order of the axes of depthwise weights, whose I is 1."""


@operator("Conv", integer=Integer.COMPUTES, fuses=True)
def conv(ctx: NodeLowering) -> None:
    """CONV_2D, DEPTHWISE_CONV_2D if every group has one input channel, or CONV_3D over volumes.

    In int8 graphs CONV_3D runs in float, and so do depthwise kernels of more than 25 elements,
    unless they have the form ``LARGE_DEPTHWISE``. Padding that TFLite cannot state is a PAD in
    front, which XNNPACK takes into the convolution. The channels of the result lie in the order in
    which their consumer reads them (``channel_order``).
    """
    if len(ctx.shape(0)) == 5:
        convolve_volume(ctx)
        return
    weight_shape = as_map(ctx.shape(1))
    group = ctx.attributes.get_int("group", 1)
    channels, depth = weight_shape[:2]
    depthwise = group > 1 and depth == 1
    perm = OIHW_TO_IHWO if depthwise else OIHW_TO_OHWI

    area = window(ctx, weight_shape[2:] if len(ctx.shape(1)) == 4 else weight_shape[3:])
    large = depthwise and prod(area.kernel) > MOST_ELEMENTS
    if large and not ctx.takes(Form.LARGE_DEPTHWISE):
        ctx.refuse_integer(f"on ARM a depthwise kernel of {area.kernel} is faster in float")
    foreseen = _foreseen(ctx)
    foldable = ctx.integer and group == 1 and foreseen is None
    whole = ctx.takes(Form.WHOLE_WINDOWS)
    folded = fold(area, depth, whole_windows=whole) if foldable else None
    if folded is not None and len(ctx.shape(0)) == 4:
        emit_folded(ctx, area, folded)
        return
    weight, bias = _operands(ctx, perm, channels)
    x = map_input(ctx)
    padding = area.padding
    if padding is None:
        x, padding = padded(ctx, x, area), Padding.VALID
    options: Options = {
        "padding": padding,
        "strideH": area.strides[0],
        "strideW": area.strides[1],
        "dilationHFactor": area.dilations[0],
        "dilationWFactor": area.dilations[1],
    }
    if depthwise:
        options["depthMultiplier"] = channels // group
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    shape, order = map_result(ctx)
    if foreseen is not None:
        channel_order, order = foreseen
        weight, bias = (_reordered(ctx, item, channel_order) for item in (weight, bias))
    ctx.emit_stored(name, [x, weight, bias], shape, order, options)


def _foreseen(ctx: NodeLowering) -> tuple[Array, Order] | None:
    """The channels as the reader of the result wants them, and the order that this is."""
    constant = all(isinstance(ctx.held(i), Constant) for i in (1, 2) if ctx.has(i))
    order = consumer_order(ctx.result)
    if order is None or not constant or ctx.attributes.get_int("group", 1) != 1:
        return None
    channels = channel_permutation(order, as_map(ctx.result_shape))
    return None if channels is None else (channels, order)


def _reordered(ctx: NodeLowering, tensor: Tensor, channels: Array) -> Tensor:
    """A weight or bias with its first axis, the output channels, permuted."""
    elements = tensor.elements
    assert elements is not None
    quantization = tensor.quantization
    if isinstance(quantization, ChannelQuantization):
        quantization = ChannelQuantization(quantization.scales[channels], quantization.axis)
    return ctx.builder.constant(elements[channels], tensor.name, quantization)


def _operands(ctx: NodeLowering, perm: Perm, channels: int) -> tuple[Tensor, Tensor]:
    """Weight and bias in TFLite's layout."""
    shape = as_map(ctx.shape(1))
    if not ctx.integer:
        stored = ctx.stored(1)
        weight = ctx.builder.placed(stored, shape, perm)
        return weight, float_bias(ctx, 2, channels)
    known = integer_weights(ctx, 1, channel_axis=0)
    codes = known.codes.reshape(shape).transpose(perm)
    assert codes.shape == permuted(shape, perm)
    weight = weight_tensor(ctx, 1, codes, known.scales, axis=perm.index(0))
    stored_input = ctx.stored(0).tensor
    return weight, integer_bias(ctx, 2, stored_input, known.scales, channels)
