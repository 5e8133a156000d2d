"""Reductions over axes."""

from __future__ import annotations

from functools import partial

import numpy as np

from edgeconv.export.tflite.builder import Stored
from edgeconv.export.tflite.emit.arithmetic import Arithmetic
from edgeconv.export.tflite.graph import Tensor
from edgeconv.export.tflite.layout import Order, Shape, channels_last, permuted
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import Integer, operator


@operator("GlobalAveragePool", integer=Integer.COMPUTES)
def global_average_pool(ctx: NodeLowering) -> None:
    """MEAN over the spatial axes, which XNNPACK takes in int8, unlike an average pool."""
    reduce(ctx, "MEAN", tuple(range(2, len(ctx.shape(0)))))


@operator("GlobalMaxPool", integer=Integer.MOVES)
def global_max_pool(ctx: NodeLowering) -> None:
    """REDUCE_MAX over the spatial axes."""
    reduce(ctx, "REDUCE_MAX", tuple(range(2, len(ctx.shape(0)))))


def _reduction(ctx: NodeLowering, name: str) -> None:
    if ctx.dtype == np.dtype("bool"):
        name = {"REDUCE_MAX": "REDUCE_ANY", "REDUCE_MIN": "REDUCE_ALL"}[name]
    reduce(ctx, name, reduced_axes(ctx))


for _onnx, _tflite, _integer in (
    ("ReduceMean", "MEAN", Integer.COMPUTES),
    ("ReduceMax", "REDUCE_MAX", Integer.MOVES),
    ("ReduceMin", "REDUCE_MIN", Integer.MOVES),
):
    operator(_onnx, integer=_integer)(partial(_reduction, name=_tflite))
operator(
    "ReduceSum",
    integer=Integer.COMPUTES,
    reason="in a written-out softmax or norm the rounding around the sum costs accuracy",
)(partial(_reduction, name="SUM"))
# 196 x 8 on a Cortex-A72, millions of instructions: int8 0.067, in float with conversions 0.024.
operator("ReduceProd", reason="TFLite's int8 kernel is slower than float")(
    partial(_reduction, name="REDUCE_PROD")
)


@operator("ReduceL2", "ReduceSumSquare")
def reduce_squares(ctx: NodeLowering) -> None:
    """SUM of the squares, and its root for ReduceL2."""
    stored = ctx.stored(0)
    squares = Arithmetic(ctx)("MUL", stored.tensor, stored.tensor)
    source = Stored(squares, stored.order)
    axes = reduced_axes(ctx)
    if ctx.node.op_type == "ReduceSumSquare":
        reduce(ctx, "SUM", axes, source)
        return
    sums = reduced(ctx, "SUM", axes, source)
    ctx.emit_stored("SQRT", [sums.tensor], sums.tensor.shape, sums.order)


@operator("ReduceL1")
def reduce_l1(ctx: NodeLowering) -> None:
    """SUM of the magnitudes."""
    stored = ctx.stored(0)
    magnitudes = Arithmetic(ctx)("ABS", stored.tensor)
    reduce(ctx, "SUM", reduced_axes(ctx), Stored(magnitudes, stored.order))


@operator("ReduceLogSum")
def reduce_log_sum(ctx: NodeLowering) -> None:
    """LOG of a SUM."""
    sums = reduced(ctx, "SUM", reduced_axes(ctx), ctx.stored(0))
    ctx.emit_stored("LOG", [sums.tensor], sums.tensor.shape, sums.order)


@operator("ReduceLogSumExp")
def reduce_log_sum_exp(ctx: NodeLowering) -> None:
    """Log of the sum of exp(x - max), plus max, so that exp never overflows.

    An infinite max is replaced with the nearest finite one: it has no difference to itself.
    """
    axes = reduced_axes(ctx)
    stored = ctx.stored(0)
    shape = ctx.shape(0)
    largest = reduced(ctx, "REDUCE_MAX", axes, stored)
    f = Arithmetic(ctx)
    finite = float(np.finfo(np.float32).max)
    top = f("MINIMUM", f("MAXIMUM", largest.tensor, -finite), finite)
    perm = stored.order.nearest_perm(shape)
    if stored.order == Order.of(shape, channels_last(len(shape))):
        perm = channels_last(len(shape))
    x = ctx.builder.placed(stored, shape, perm)
    powers = f("EXP", f("SUB", x, top))
    sums = reduced(ctx, "SUM", axes, Stored(powers, Order.of(shape, perm)))
    logs = f("LOG", sums.tensor)
    ctx.emit_stored("ADD", [logs, top], logs.shape, largest.order)


def reduced_axes(ctx: NodeLowering) -> tuple[int, ...]:
    """The axes of a reduction, from its second input (an attribute before opset 18)."""
    rank = len(ctx.shape(0))
    if ctx.has(1):
        axes = tuple(int(axis) for axis in ctx.demand_constant(1, "axes").reshape(-1))
    else:
        axes = tuple(ctx.attributes.get_ints("axes", ()))
    if not axes and not ctx.attributes.get_int("noop_with_empty_axes", 0):
        axes = tuple(range(rank))
    return tuple(sorted(axis % rank for axis in axes))


def reduce(
    ctx: NodeLowering, name: str, axes: tuple[int, ...], source: Stored | None = None
) -> None:
    """Emit a reduction of ``source`` (default: the first input) as the node's result.

    It keeps the reduced axes: to drop them is a reshape, and costs nothing.
    """
    if not axes:
        ctx.same(0)
        return
    x, along, shape, order = _prepared(ctx, axes, source or ctx.stored(0))
    ctx.emit_stored(name, [x, along], shape, order, {"keepDims": True})


def reduced(ctx: NodeLowering, name: str, axes: tuple[int, ...], source: Stored) -> Stored:
    """Emit a reduction of ``source``, of the first input's shape, as an intermediate result."""
    x, along, shape, order = _prepared(ctx, axes, source)
    result = ctx.fresh(name.lower(), shape)
    ctx.builder.emit(name, [x, along], [result], {"keepDims": True})
    return Stored(result, order)


def _prepared(
    ctx: NodeLowering, axes: tuple[int, ...], source: Stored
) -> tuple[Tensor, Tensor, Shape, Order]:
    """The input and the axes along it, and shape and order of the result.

    The input stays in the order it is in, or one near it. A map stays with its channels last
    where that is the same as ONNX's order: XNNPACK reduces height and width.
    """
    shape = ctx.shape(0)
    rank = len(shape)
    perm = source.order.nearest_perm(shape)
    if source.order == Order.of(shape, channels_last(rank)):
        perm = channels_last(rank)
    x = ctx.builder.placed(source, shape, perm)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    along = ctx.builder.integers(sorted(perm.index(axis) for axis in axes), f"{ctx.name}/axes")
    return x, along, permuted(kept, perm), Order.of(kept, perm)
