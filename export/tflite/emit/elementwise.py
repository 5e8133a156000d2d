"""Operators on each element: of one operand, and of several that broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from edgeconv.export.tflite.builder import Constant, Stored
from edgeconv.export.tflite.emit.arithmetic import Formula
from edgeconv.export.tflite.graph import Options, Quantization, Tensor
from edgeconv.export.tflite.layout import Order, Perm, Shape, permuted
from edgeconv.export.tflite.node_lowering import NodeLowering


def unary(
    ctx: NodeLowering,
    name: str,
    quantization: Quantization | None = None,
    options: Options | None = None,
) -> None:
    """Emit an operator that leaves every element where it is."""
    stored = ctx.stored(0)
    x = stored.tensor
    ctx.emit_stored(name, [x], x.shape, stored.order, options, quantization)


def table(ctx: NodeLowering, name: str, options: Options | None = None) -> None:
    """Emit a function of one element.

    In integer mode it is computed in float, in a sequence that XNNPACK replaces with a table.
    """
    if not ctx.integer:
        unary(ctx, name, options=options)
        return
    f = Formula(ctx)
    f.finish(f(name, f.x, options=options))


def leaky(ctx: NodeLowering, slope: float) -> None:
    """Emit LEAKY_RELU with this slope of the negative half."""
    table(ctx, "LEAKY_RELU", {"alpha": slope})


def aligned(ctx: NodeLowering, indices: Sequence[int]) -> tuple[list[Tensor], Shape, Order]:
    """Bring inputs of a node into one order, ready to broadcast.

    It is an order in which one of the inputs is stored, so that the others move; constants do so at
    export.

    Returns:
        The tensors, and shape and order of the result.
    """
    shapes = [ctx.shape(index) for index in indices]
    stored = [ctx.stored(index) for index in indices]
    known = [isinstance(ctx.held(index), Constant) for index in indices]
    if len(set(shapes)) == 1:
        leader = _leader(stored, known)
        shape = leader.tensor.shape
        tensors = [ctx.builder.arranged(item, leader.order, shape) for item in stored]
        return tensors, shape, leader.order
    result = np.broadcast_shapes(*shapes)
    perm = _broadcast_perm(shapes, stored, known, result)
    tensors = [
        _extended(ctx, item, shape, perm) for item, shape in zip(stored, shapes, strict=True)
    ]
    return tensors, permuted(result, perm), Order.of(result, perm)


def _leader(stored: Sequence[Stored], known: Sequence[bool]) -> Stored:
    """Choose the operand whose order the others take.

    It is not a constant if possible, and rather one that is not in the plain order: its neighbors
    had a reason to move it.
    """
    ranked = sorted(
        zip(stored, known, strict=True), key=lambda item: (item[1], item[0].order.is_identity)
    )
    return ranked[0][0]


def _broadcast_perm(
    shapes: Sequence[Shape], stored: Sequence[Stored], known: Sequence[bool], result: Shape
) -> Perm:
    """Take the order of axes of the largest operand that is not constant.

    Among equals it is one that is not in the plain order.
    """
    ranked = sorted(
        zip(shapes, stored, known, strict=True),
        key=lambda item: (item[2], -prod(item[0]), item[1].order.is_identity),
    )
    shape, item, _ = ranked[0]
    return item.order.nearest_perm(_padded(shape, len(result)))


def _extended(ctx: NodeLowering, item: Stored, shape: Shape, perm: Perm) -> Tensor:
    """Give an operand the rank of the result; constants drop leading ones again."""
    tensor = ctx.builder.placed(item, _padded(shape, len(perm)), perm)
    if tensor.data is not None:
        lead = next((axis for axis, size in enumerate(tensor.shape) if size != 1), len(perm))
        tensor = ctx.builder.reshape(tensor, tensor.shape[min(lead, max(0, len(perm) - 1)) :])
    return tensor


def _padded(shape: Shape, rank: int) -> Shape:
    return (1,) * (rank - len(shape)) + shape


def binary(ctx: NodeLowering, name: str) -> None:
    """Emit an operator of two operands."""
    tensors, shape, order = aligned(ctx, (0, 1))
    ctx.emit_stored(name, tensors, shape, order)


def chain(ctx: NodeLowering, name: str, tensors: list[Tensor], shape: Shape, order: Order) -> None:
    """Emit operators of two operands, each on the result of the one before."""
    if len(tensors) == 1:
        ctx.same(0)
        return
    first = tensors[0]
    for position, tensor in enumerate(tensors[1:-1]):
        quantization = first.quantization if ctx.integer else None
        grown = np.broadcast_shapes(first.shape, tensor.shape)
        result = ctx.fresh(f"{name.lower()}{position}", grown, quantization)
        ctx.builder.emit(name, [first, tensor], [result])
        first = result
    ctx.emit_stored(name, [first, tensors[-1]], shape, order)
