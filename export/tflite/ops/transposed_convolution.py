"""ConvTranspose, over lines, maps and volumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.export.tflite.emit.weights import (
    float_bias,
    integer_bias,
    integer_weights,
    weight_tensor,
)
from edgeconv.export.tflite.emit.windows import as_map, map_input, map_result
from edgeconv.export.tflite.graph import Array, Options, Padding, Tensor
from edgeconv.export.tflite.layout import DEPTH_CHANNELS_LAST, Perm, Shape
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import Integer, operator
from edgeconv.export.window_pads import cut_in_front

Pair = tuple[int, int]

IOHW_TO_OHWI: Perm = (1, 2, 3, 0)
IODHW_TO_DHWOI: Perm = (2, 3, 4, 1, 0)


@operator("ConvTranspose", integer=Integer.COMPUTES, fuses=True)
def conv_transpose(ctx: NodeLowering) -> None:
    """TRANSPOSE_CONV, or CONV_3D_TRANSPOSE over volumes.

    In int8 graphs CONV_3D_TRANSPOSE runs in float, and so does a grouped one whose weight has a
    scale per channel, which several groups share. Padding of a transposed convolution cuts its
    result; what SAME does not cut exactly, a SLICE does. Groups and dilations become zeros in the
    weight.
    """
    if len(ctx.shape(0)) == 5:
        _volume(ctx)
        return
    if len(ctx.shape(0)) not in (3, 4):
        raise ctx.unsupported(
            f"its input has {len(ctx.shape(0)) - 2} spatial dimensions",
            "only 1, 2 and 3 have a TFLite form",
        )
    weight, bias = _operands(ctx)
    strides = _pair(ctx, "strides", 1)
    (n, height, width, channels), order = map_result(ctx)
    x = map_input(ctx)
    result = (height, width)
    cut = _cut(ctx)
    low = (cut[0], cut[1]) if len(cut) == 2 else (0, cut[0])
    kernel = weight.shape[1:3]
    full = tuple((x.shape[1 + a] - 1) * strides[a] + kernel[a] for a in (0, 1))
    padding = _padding(low, x.shape[1:3], result, kernel, strides)
    options: Options = {"strideH": strides[0], "strideW": strides[1]}
    if padding is not None:
        options["padding"] = padding
        to = ctx.builder.integers((n, *result, channels), f"{ctx.name}/shape")
        ctx.emit_stored(
            "TRANSPOSE_CONV", [to, weight, x, bias], (n, *result, channels), order, options
        )
        return
    # Where the result reaches behind the last window, it is only the bias.
    reach = tuple(max(full[a], low[a] + result[a]) for a in (0, 1))
    whole = (n, *reach, channels)
    options["padding"] = Padding.VALID
    to = ctx.builder.integers(whole, f"{ctx.name}/shape")
    quantization = ctx.wanted if ctx.integer else None
    uncut = ctx.fresh("uncut", whole, quantization)
    ctx.builder.emit("TRANSPOSE_CONV", [to, weight, x, bias], [uncut], options)
    begin = ctx.builder.integers((0, *low, 0), f"{ctx.name}/begin")
    size = ctx.builder.integers((n, *result, channels), f"{ctx.name}/size")
    ctx.emit_stored("SLICE", [uncut, begin, size], (n, *result, channels), order)


def _volume(ctx: NodeLowering) -> None:
    """CONV_3D_TRANSPOSE without padding, which has no integer form, and a SLICE of its result."""
    ctx.refuse_integer("TFLite convolves volumes in float")
    group = ctx.attributes.get_int("group", 1)
    real = ctx.constant(1)
    dilations = ctx.attributes.get_ints("dilations", (1, 1, 1))
    if real is None:  # computed_weights.py writes groups and dilations out
        weight = ctx.tensor(1, IODHW_TO_DHWOI)
    else:
        array = _dense(real, group, dilations).transpose(IODHW_TO_DHWOI)
        weight = ctx.builder.constant(array, ctx.value(1).name or f"{ctx.name}/weight")
    channels = weight.shape[3]
    strides = ctx.attributes.get_ints("strides", (1, 1, 1))
    x = ctx.tensor(0, DEPTH_CHANNELS_LAST)
    low, size = _cut(ctx), ctx.result_shape[2:]
    full = [(x.shape[1 + a] - 1) * strides[a] + weight.shape[a] for a in range(3)]
    # Where the result reaches behind the last window, it is only the bias.
    whole = (x.shape[0], *(max(full[a], low[a] + size[a]) for a in range(3)), channels)
    to = ctx.builder.integers(whole, f"{ctx.name}/shape")
    bias = float_bias(ctx, 2, channels)
    options: Options = {
        "padding": Padding.VALID,
        **{f"stride{axis}": step for axis, step in zip("DHW", strides, strict=True)},
        **{f"dilation{axis}Factor": 1 for axis in "DHW"},
    }
    operands = [to, weight, x, bias]
    if not any(low) and whole[1:4] == size:
        ctx.emit("CONV_3D_TRANSPOSE", operands, DEPTH_CHANNELS_LAST, options)
        return
    uncut = ctx.fresh("uncut", whole)
    ctx.builder.emit("CONV_3D_TRANSPOSE", operands, [uncut], options)
    begin = ctx.builder.integers((0, *low, 0), f"{ctx.name}/begin")
    sizes = ctx.builder.integers((x.shape[0], *size, channels), f"{ctx.name}/size")
    ctx.emit("SLICE", [uncut, begin, sizes], DEPTH_CHANNELS_LAST)


def _padding(
    low: Pair, size: tuple[int, ...], result: Pair, kernel: tuple[int, ...], strides: Pair
) -> Padding | None:
    if all(low[a] == 0 and result[a] == (size[a] - 1) * strides[a] + kernel[a] for a in (0, 1)):
        return Padding.VALID
    for a in (0, 1):
        total = (size[a] - 1) * strides[a] + kernel[a] - result[a]
        if total < 0 or total // 2 != low[a] or size[a] != -(-result[a] // strides[a]):
            return None
    return Padding.SAME


def _operands(ctx: NodeLowering) -> tuple[Tensor, Tensor]:
    """Weight, output channels x height x width x input channels, and bias."""
    group = ctx.attributes.get_int("group", 1)
    shape = as_map(ctx.shape(1))
    channels = shape[1] * group
    dilations = _pair(ctx, "dilations", 1)
    if not ctx.integer:
        real, bias = ctx.constant(1), float_bias(ctx, 2, channels)
        if real is None:  # computed_weights.py writes groups and dilations out
            return ctx.builder.placed(ctx.stored(1), shape, IOHW_TO_OHWI), bias
        array = _permuted(real.reshape(shape), group, dilations)
        return ctx.builder.constant(array, ctx.value(1).name or f"{ctx.name}/weight"), bias
    known = integer_weights(ctx, 1, channel_axis=1)
    if group > 1 and known.per_channel:
        ctx.refuse_integer("its weight has scales that several groups share")
    codes = _permuted(known.codes.reshape(shape), group, dilations)
    weight = weight_tensor(ctx, 1, codes, known.scales, axis=0)
    x = ctx.stored(0).tensor
    return weight, integer_bias(ctx, 2, x, known.scales, channels)


def _permuted(array: Array, group: int, dilations: Pair) -> Array:
    """Permute IOHW to OHWI, with the kernel spread by its dilations.

    O is counted per group in ``array``, and over all groups in the result.
    """
    return np.transpose(_dense(array, group, dilations), IOHW_TO_OHWI)


def _dense(array: Array, group: int, dilations: Sequence[int]) -> Array:
    """Write I x O x kernel without groups, with the kernel spread by its dilations.

    O is counted per group in ``array``, and over all groups in the result.
    """
    inputs, outputs, *kernel = array.shape
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    spread: Array = np.zeros((inputs, outputs, *reach), array.dtype)
    places = (slice(None), slice(None), *(slice(None, None, step) for step in dilations))
    spread[places] = array
    if group == 1:
        return spread
    whole: Array = np.zeros((inputs, outputs * group, *reach), array.dtype)
    depth = inputs // group
    for index in range(group):
        rows = slice(index * depth, (index + 1) * depth)
        whole[rows, index * outputs : (index + 1) * outputs] = spread[rows]
    return whole


def _cut(ctx: NodeLowering) -> Shape:
    """What is cut in front, in each dimension of space."""
    return cut_in_front(ctx.node, ctx.shape(1)[2:], ctx.shape(0)[2:], ctx.result_shape[2:])


def _pair(ctx: NodeLowering, name: str, default: int) -> Pair:
    values = ctx.attributes.get_ints(name, (default,) * (len(ctx.shape(0)) - 2))
    return (values[0], values[1]) if len(values) == 2 else (default, values[0])
