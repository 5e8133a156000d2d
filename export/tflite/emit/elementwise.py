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
    """A function of one element; in integers by way of float, which XNNPACK makes a table of."""
    if not ctx.integer:
        unary(ctx, name, options=options)
        return
    f = Formula(ctx)
    f.finish(f(name, f.x, options=options))


def leaky(ctx: NodeLowering, slope: float) -> None:
    table(ctx, "LEAKY_RELU", {"alpha": slope})


def aligned(ctx: NodeLowering, indices: Sequence[int]) -> tuple[list[Tensor], Shape, Order]:
    """Inputs of a node in one order, ready to broadcast, and shape and order of the result.

    The order is one in which an input already is, so that the others move, constants for free.
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
    """The operand whose order the others take: one that is not constant, and rather one that was
    moved out of the plain order, which its neighbors had a reason for.
    """
    ranked = sorted(
        zip(stored, known, strict=True), key=lambda item: (item[1], item[0].order.is_identity)
    )
    return ranked[0][0]


def _broadcast_perm(
    shapes: Sequence[Shape], stored: Sequence[Stored], known: Sequence[bool], result: Shape
) -> Perm:
    """The order of axes of the largest operand that is not constant; among equals, of one that
    is not in the plain order.
    """
    ranked = sorted(
        zip(shapes, stored, known, strict=True),
        key=lambda item: (item[2], -prod(item[0]), item[1].order.is_identity),
    )
    shape, item, _ = ranked[0]
    return item.order.nearest_perm(_padded(shape, len(result)))


def _extended(ctx: NodeLowering, item: Stored, shape: Shape, perm: Perm) -> Tensor:
    """An operand with the rank of the result. Constants drop leading ones again."""
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
    """One operator of two operands after the other."""
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
