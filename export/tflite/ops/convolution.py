"""Conv."""

from __future__ import annotations

from edgeconv.export.tflite.graph import Options, Padding, Tensor
from edgeconv.export.tflite.layout import Perm, permuted
from edgeconv.export.tflite.ops.weights import (
    float_bias,
    integer_bias,
    integer_weights,
    weight_tensor,
)
from edgeconv.export.tflite.ops.windows import (
    as_map,
    map_input,
    map_result,
    padded,
    window,
)
from edgeconv.export.tflite.registry import Integer, operator
from edgeconv.export.tflite.site import Site

OIHW_TO_OHWI: Perm = (0, 2, 3, 1)
OIHW_TO_IHWO: Perm = (1, 2, 3, 0)
"""Of depthwise weights, whose I is 1."""


@operator("Conv", integer=Integer.COMPUTES, fuses=True)
def conv(site: Site) -> None:
    """CONV_2D, or DEPTHWISE_CONV_2D where every group has one input channel. Padding that TFLite
    cannot state is a PAD in front, which XNNPACK takes into the convolution."""
    weight_shape = as_map(site.shape(1))
    group = site.integer_attribute("group", 1)
    channels, depth = weight_shape[:2]
    depthwise = group > 1 and depth == 1
    perm = OIHW_TO_IHWO if depthwise else OIHW_TO_OHWI

    area = window(site, weight_shape[2:] if len(site.shape(1)) == 4 else weight_shape[3:])
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
    site.emit_stored(name, [x, weight, bias], *map_result(site), options)


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
