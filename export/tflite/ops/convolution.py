"""Conv."""

from __future__ import annotations

from math import prod

from edgeconv.export.tflite.builder import Constant
from edgeconv.export.tflite.channel_order import channel_permutation, wanted_order
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
from edgeconv.export.tflite.graph import (
    Array,
    ChannelQuantization,
    Options,
    Padding,
    Tensor,
)
from edgeconv.export.tflite.layout import Order, Perm, permuted
from edgeconv.export.tflite.node_lowering import Site
from edgeconv.export.tflite.registry import Integer, operator

OIHW_TO_OHWI: Perm = (0, 2, 3, 1)
OIHW_TO_IHWO: Perm = (1, 2, 3, 0)
"""Of depthwise weights, whose I is 1."""


@operator("Conv", integer=Integer.COMPUTES, fuses=True)
def conv(site: Site) -> None:
    """CONV_2D, or DEPTHWISE_CONV_2D where every group has one input channel; in int8 graphs, too,
    CONV_3D over volumes and depthwise kernels of more than 25 elements run in float. Padding that
    TFLite cannot state is a PAD in front, which XNNPACK takes into the convolution. The result's
    channels lie in the order in which they will be read (see ``foresight``)."""
    if len(site.shape(0)) == 5:
        convolve_volume(site)
        return
    weight_shape = as_map(site.shape(1))
    group = site.integer_attribute("group", 1)
    channels, depth = weight_shape[:2]
    depthwise = group > 1 and depth == 1
    perm = OIHW_TO_IHWO if depthwise else OIHW_TO_OHWI

    area = window(site, weight_shape[2:] if len(site.shape(1)) == 4 else weight_shape[3:])
    if depthwise and prod(area.kernel) > MOST_ELEMENTS:
        site.refuse_integer(f"on ARM a depthwise kernel of {area.kernel} is faster in float")
    foreseen = _foreseen(site)
    folded = fold(area, depth) if site.integer and group == 1 and foreseen is None else None
    if folded is not None and len(site.shape(0)) == 4:
        emit_folded(site, area, folded)
        return
    weight, bias = _operands(site, perm, channels)
    x = map_input(site)
    padding = area.padding
    if padding is None:
        x, padding = padded(site, x, area), Padding.VALID
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
    shape, order = map_result(site)
    if foreseen is not None:
        channel_order, order = foreseen
        weight, bias = (_reordered(site, item, channel_order) for item in (weight, bias))
    site.emit_stored(name, [x, weight, bias], shape, order, options)


def _foreseen(site: Site) -> tuple[Array, Order] | None:
    """The channels as the reader of the result wants them, and the order that this is."""
    constant = all(isinstance(site.held(i), Constant) for i in (1, 2) if site.has(i))
    order = wanted_order(site.result)
    if order is None or not constant or site.integer_attribute("group", 1) != 1:
        return None
    channels = channel_permutation(order, as_map(site.result_shape))
    return None if channels is None else (channels, order)


def _reordered(site: Site, tensor: Tensor, channels: Array) -> Tensor:
    """A weight or bias with its first axis, the output channels, permuted."""
    elements = tensor.elements
    assert elements is not None
    quantization = tensor.quantization
    if isinstance(quantization, ChannelQuantization):
        quantization = ChannelQuantization(quantization.scales[channels], quantization.axis)
    return site.builder.constant(elements[channels], tensor.name, quantization)


def _operands(site: Site, perm: Perm, channels: int) -> tuple[Tensor, Tensor]:
    """Weight and bias in TFLite's layout."""
    shape = as_map(site.shape(1))
    if not site.integer:
        stored = site.stored(1)
        weight = site.builder.placed(stored, shape, perm)
        return weight, float_bias(site, 2, channels)
    known = integer_weights(site, 1, channel_axis=0)
    codes = known.codes.reshape(shape).transpose(perm)
    assert codes.shape == permuted(shape, perm)
    weight = weight_tensor(site, 1, codes, known.scales, axis=perm.index(0))
    stored_input = site.stored(0).tensor
    return weight, integer_bias(site, 2, stored_input, known.scales, channels)
