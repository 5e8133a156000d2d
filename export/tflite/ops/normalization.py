"""Normalizations, written as arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import known_array
from edgeconv.export.tflite.builder import FLOAT, Stored
from edgeconv.export.tflite.emit.affine import per_channel_affine
from edgeconv.export.tflite.emit.arithmetic import Arithmetic
from edgeconv.export.tflite.graph import Options, Tensor
from edgeconv.export.tflite.layout import (
    Order,
    Perm,
    channels_last,
    identity,
    permuted,
)
from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import Integer, decomposition_of, operator

LARGEST_RANK = 5
"""The most dimensions that every runtime broadcasts over."""

LONG_ROW = 4096
"""The most elements along an axis of which one mean is nearly as exact as ONNX Runtime's."""


@operator(
    "BatchNormalization",
    integer=Integer.COMPUTES,
    fuses=True,
    reason="it becomes a Conv, or a part of one, before the quantization",
)
def batch_normalization(ctx: NodeLowering) -> None:
    """A 1x1 depthwise convolution with factor and offset of each channel.

    XNNPACK runs it as one multiply-add per element. In int8 it is exact but for the rounding of the
    result, because each channel has a scale of its own.
    """
    if ctx.attributes.get_int("training_mode", 0):
        raise ctx.unsupported("training_mode is 1", "export the network in eval mode")
    scale, shift, mean, variance = (
        ctx.demand_constant(index, what).astype(np.float64)
        for index, what in enumerate(("scale", "bias", "mean", "variance"), start=1)
    )
    factor = scale / np.sqrt(variance + ctx.attributes.get_float("epsilon", 1e-5))
    per_channel_affine(ctx, factor, shift - mean * factor)


def standardized(
    steps: Arithmetic, x: Tensor, axes: Sequence[int], epsilon: float, *, exactly: bool = False
) -> Tensor:
    """Compute (x - mean) / sqrt(variance + epsilon), both over ``axes`` of the tensor.

    Args:
        steps: Emits the operators.
        x: The tensor.
        axes: Its axes.
        epsilon: What is added to the variance.
        exactly: Whether to take off what rounding left of the mean.
    """
    centered = exactly_centered(steps, x, axes) if exactly else _centered(steps, x, axes)
    variance = steps.mean(steps("MUL", centered, centered), axes)
    return steps("MUL", centered, steps("RSQRT", steps("ADD", variance, epsilon)))


def _centered(steps: Arithmetic, x: Tensor, axes: Sequence[int]) -> Tensor:
    return steps("SUB", x, steps.mean(x, axes))


def exactly_centered(steps: Arithmetic, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Compute x - mean over ``axes`` of the tensor, and take off what is left of a mean.

    MEAN adds up one element after the other: for 48 x 48 of them about 1000 it is off by 0.04. A
    division by a small deviation amplifies that, up to 1 / sqrt(epsilon) times. The mean of what
    is left is of small numbers and so much more exact.
    """
    return _centered(steps, _centered(steps, x, axes), axes)


def _written_out(call: Call) -> bool:
    """Whether a Sub takes off the mean of what a variance over the same axes is then taken of."""
    x, mean = call.node.inputs
    taken = _reduced(mean)
    if taken is None or x is None or x is not taken.inputs[0] or x.dtype != ir.DataType.FLOAT:
        return False
    before = x.producer()
    if before is not None and before.op_type == "Sub" and _reduced(before.inputs[1]) is not None:
        return False  # it is the second mean
    squares = [user for user in call.node.outputs[0].consumers() if _squares(user)]
    readers = [user for square in squares for user in square.outputs[0].consumers()]
    means = [_reduced(user.outputs[0]) for user in readers]
    return any(each is not None and _axes(each) == _axes(taken) for each in means)


def _reduced(value: ir.Value | None) -> ir.Node | None:
    """The ReduceMean with known axes, which stay with a size of 1, that made ``value``."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "ReduceMean" or node.attributes.get_int("keepdims", 1) != 1:
        return None
    return node if _axes(node) is not None else None


def _axes(node: ir.Node) -> frozenset[int] | None:
    x, stated = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    known = None if stated is None else known_array(stated)
    if known is None or x is None or x.shape is None:
        return None
    return frozenset(int(axis) % len(x.shape) for axis in known.reshape(-1))


def _squares(node: ir.Node) -> bool:
    if node.op_type == "Mul":
        return node.inputs[0] is node.inputs[1]
    power = known_array(node.inputs[1]) if node.op_type == "Pow" and node.inputs[1] else None
    return power is not None and bool(np.all(power == 2))


@decomposition_of("Sub", when=_written_out)
def centered_again(f: Decomposer) -> list[ir.Value]:
    """The same as in a normalization that is one operator: see :func:`exactly_centered`."""
    taken = _reduced(f.node.inputs[1])
    assert taken is not None
    centered = f("Sub", f.input(0), f.input(1))
    axes = sorted(_axes(taken) or ())
    return [f("Sub", centered, f("ReduceMean", centered, axes))]


@operator("LayerNormalization")
def layer_normalization(ctx: NodeLowering) -> None:
    """(x - mean) / sqrt(variance + epsilon) over the last axes, times scale, plus bias.

    The axes are reduced where they are stored.
    """
    shape = ctx.shape(0)
    rank = len(shape)
    first = ctx.attributes.get_int("axis", -1) % rank
    perm = ctx.own_perm()
    steps = Arithmetic(ctx)
    axes = [perm.index(axis) for axis in range(first, rank)]
    epsilon = ctx.attributes.get_float("epsilon", 1e-5)
    is_long = len(axes) > 1 or shape[-1] > LONG_ROW
    result = standardized(steps, ctx.tensor(0, perm), axes, epsilon, exactly=is_long)
    result = steps("MUL", result, _along(ctx, 1, perm))
    if ctx.has(2):
        result = steps("ADD", result, _along(ctx, 2, perm))
    ctx.finish(result, Order.of(shape, perm))


@operator("RMSNormalization")
def rms_normalization(ctx: NodeLowering) -> None:
    """Divide x by sqrt(mean of x² + epsilon) over the last axes, and multiply by scale."""
    shape = ctx.shape(0)
    rank = len(shape)
    first = ctx.attributes.get_int("axis", -1) % rank
    perm = ctx.own_perm()
    steps = Arithmetic(ctx)
    x = ctx.tensor(0, perm)
    square = steps.mean(steps("MUL", x, x), [perm.index(axis) for axis in range(first, rank)])
    root = steps("RSQRT", steps("ADD", square, ctx.attributes.get_float("epsilon", 1e-5)))
    result = steps("MUL", steps("MUL", x, root), _along(ctx, 1, perm))
    ctx.finish(result, Order.of(shape, perm))


def _along(ctx: NodeLowering, index: int, perm: Perm) -> Tensor:
    """A parameter that broadcasts to the first input from the right, in the order ``perm``."""
    own = ctx.shape(index)
    shape = (1,) * (len(perm) - len(own)) + own
    return ctx.builder.placed(ctx.stored(index), shape, perm)


@operator("InstanceNormalization")
def instance_normalization(ctx: NodeLowering) -> None:
    """(x - mean) / sqrt(variance + epsilon) over the spatial axes of each channel."""
    _grouped(ctx, groups=ctx.shape(0)[1])


@operator("GroupNormalization")
def group_normalization(ctx: NodeLowering) -> None:
    """(x - mean) / sqrt(variance + epsilon) over the spatial axes and the channels of a group."""
    _grouped(ctx, groups=ctx.attributes.get_int("num_groups", 1))


def _grouped(ctx: NodeLowering, groups: int) -> None:
    """Standardize the elements of each group, then scale and shift each channel.

    The elements stay where they are stored.
    """
    shape = ctx.shape(0)
    n, channels, pixels = shape[0], shape[1], prod(shape[2:])
    logical = (n, groups, channels // groups, pixels)
    source = ctx.stored(0)
    found = source.order.grouped(logical)
    if found is None or len(found[1]) > LARGEST_RANK:
        order = Order.of(shape, channels_last(len(shape)))
        source = Stored(ctx.builder.arranged(source, order, source.tensor.shape), order)
        found = order.grouped(logical)
        assert found is not None
    (_, group, inner, spatial), dims, perm = found
    steps = Arithmetic(ctx)
    axes = [place for place, index in enumerate(perm) if index in (*inner, *spatial)]
    x = source.tensor
    if len(axes) == len(perm):
        axes = [*range(len(x.shape))]
    else:
        x = ctx.builder.reshape(x, permuted(dims, perm))
    epsilon = ctx.attributes.get_float("epsilon", 1e-5)
    result = standardized(steps, x, axes, epsilon, exactly=True)
    parts = [dims[index] if index in (*group, *inner) else 1 for index in range(len(dims))]
    for index, name, neutral in ((1, "MUL", 1), (2, "ADD", 0)):
        parameter = ctx.demand_constant(index, "scale and bias")
        if parameter.size != channels:
            raise ctx.unsupported("it scales groups, not channels", "export with opset 21 or more")
        if np.all(parameter == neutral):
            continue
        if parameter.size > 1:
            parameter = parameter.reshape(parts).transpose(perm)
        result = steps(name, result, parameter)
    ctx.finish(result, source.order)


# 196 x 64 on a Cortex-A72, millions of instructions: L2_NORMALIZATION in int8 0.58, this 0.07.
@operator("LpNormalization", reason="TFLite's int8 kernel is slower than float")
def lp_normalization(ctx: NodeLowering) -> None:
    """Divide x by its L1 or L2 norm along an axis; 0 stays 0."""
    power = ctx.attributes.get_int("p", 2)
    shape = ctx.shape(0)
    perm = ctx.own_perm()
    axis = perm.index(ctx.attributes.get_int("axis", -1) % len(shape))
    steps = Arithmetic(ctx)
    x = ctx.tensor(0, perm)
    magnitude = steps("MUL", x, x) if power == 2 else steps("ABS", x)
    # The mean times the count is the sum.
    total = steps("MUL", steps.mean(magnitude, [axis]), float(x.shape[axis]))
    norm = steps("SQRT", total) if power == 2 else total
    smallest = float(np.finfo(FLOAT).tiny)
    ctx.finish(steps("DIV", x, steps("MAXIMUM", norm, smallest)), Order.of(shape, perm))


@operator("LogSoftmax", reason="TFLite's int8 kernel gives nothing below -16, in steps of 1/16")
def log_softmax(ctx: NodeLowering) -> None:
    """LOG_SOFTMAX over the last axis of the stored tensor."""
    rank = len(ctx.shape(0))
    axis = ctx.attributes.get_int("axis", -1) % rank
    perm = ctx.own_perm()
    if perm[-1] != axis:
        perm = (*(other for other in identity(rank) if other != axis), axis)
    ctx.emit("LOG_SOFTMAX", [ctx.tensor(0, perm)], perm)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(ctx: NodeLowering) -> None:
    """(x - mean) / sqrt(variance), over the batch and the spatial axes if none are named.

    ONNX adds 1e-9 to the root and ONNX Runtime nothing, so that it gives NaN where all is equal.
    """
    shape = ctx.shape(0)
    perm = ctx.own_perm()
    named = ctx.attributes.get_ints("axes", (0, 2, 3))
    axes = [perm.index(axis % len(shape)) for axis in named]
    steps, x = Arithmetic(ctx), ctx.tensor(0, perm)
    centered = exactly_centered(steps, x, axes)
    variance = steps.mean(steps("MUL", centered, centered), axes)
    deviation = steps("MAXIMUM", steps("SQRT", variance), 1e-9)
    ctx.finish(steps("DIV", centered, deviation), Order.of(shape, perm))


@operator("LRN")
def local_response_normalization(ctx: NodeLowering) -> None:
    """LOCAL_RESPONSE_NORMALIZATION.

    Its window has a middle, and its alpha counts for each neighbor.
    """
    size = ctx.attributes.get_int("size", 1)
    if size % 2 == 0:
        raise ctx.unsupported(f"size is {size}", "use an odd size")
    shape = ctx.shape(0)
    perm = channels_last(len(shape))
    order = Order.of(shape, perm)
    flat = (shape[0], prod(shape[2:]), 1, shape[1])
    x = ctx.builder.arranged(ctx.stored(0), order, flat)
    options: Options = {
        "radius": size // 2,
        "bias": ctx.attributes.get_float("bias", 1.0),
        "alpha": ctx.attributes.get_float("alpha", 1e-4) / size,
        "beta": ctx.attributes.get_float("beta", 0.75),
    }
    ctx.emit_stored("LOCAL_RESPONSE_NORMALIZATION", [x], flat, order, options)
