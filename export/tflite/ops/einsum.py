"""Einsum of one or two operands, none of which is read along a diagonal or broadcasts."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from edgeconv.export.tflite.builder import FLOAT, Constant, Stored
from edgeconv.export.tflite.graph import Tensor
from edgeconv.export.tflite.layout import Order, Perm, Shape, identity
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.ops.einsum_terms import parsed
from edgeconv.export.tflite.registry import operator


@dataclass(frozen=True)
class Operand:
    """An input with a label for each of its axes."""

    stored: Stored
    shape: Shape
    labels: str

    def sorted(self, ctx: NodeLowering, labels: str, shape: Shape) -> Tensor:
        """Transpose and reshape the tensor to ``shape``, its axes in the order of ``labels``."""
        tensor = ctx.builder.placed(self.stored, self.shape, self.perm(labels))
        return ctx.builder.reshape(tensor, shape)

    def perm(self, labels: str) -> Perm:
        """Return the permutation that puts the axes into the order of ``labels``."""
        return tuple(self.labels.index(label) for label in labels)

    def size(self, labels: str) -> int:
        """Return the number of elements along the axes ``labels``."""
        return prod(self.shape[self.labels.index(label)] for label in labels)


@operator("Einsum")
def einsum(ctx: NodeLowering) -> None:
    """SUM for one operand; BATCH_MATMUL for two, or FULLY_CONNECTED if the second is constant.

    FULLY_CONNECTED needs a second operand without a batch. The labels are sorted into those of the
    batch, those that stay and those that are summed.
    """
    terms, result = parsed(ctx, [ctx.shape(index) for index in range(len(ctx.node.inputs))])
    operands = [
        _summed(ctx, index, labels, "".join(terms[:index] + terms[index + 1 :]) + result)
        for index, labels in enumerate(terms)
    ]
    if len(operands) == 1:
        (operand,) = operands
        order = operand.stored.order.transposed(operand.shape, operand.perm(result))
        assert order is not None
        ctx.builder.bind(ctx.result, Stored(operand.stored.tensor, order))
        return
    _product(ctx, operands[0], operands[1], result)


def _product(ctx: NodeLowering, a: Operand, b: Operand, result: str) -> None:
    batch = "".join(label for label in a.labels if label in b.labels and label in result)
    summed = "".join(label for label in a.labels if label in b.labels and label not in result)
    left = "".join(label for label in a.labels if label not in b.labels)
    right = "".join(label for label in b.labels if label not in a.labels)
    count, rows, depth, units = a.size(batch), a.size(left), a.size(summed), b.size(right)
    perm = tuple(result.index(label) for label in batch + left + right)
    order = Order.of(ctx.result_shape, perm)
    if not batch and isinstance(ctx.held(1), Constant):
        x = a.sorted(ctx, left + summed, (rows, depth))
        weight = b.sorted(ctx, right + summed, (units, depth))
        bias = ctx.builder.constant(np.zeros(units, FLOAT), f"{ctx.name}/bias")
        ctx.emit_stored("FULLY_CONNECTED", [x, weight, bias], (rows, units), order)
        return
    x = a.sorted(ctx, batch + left + summed, (count, rows, depth))
    plain = Order.of(b.shape, b.perm(batch + summed + right))
    exchanged = Order.of(b.shape, b.perm(batch + right + summed))
    adjoint = b.stored.order == exchanged != plain
    if adjoint:
        y = b.sorted(ctx, batch + right + summed, (count, units, depth))
    else:
        y = b.sorted(ctx, batch + summed + right, (count, depth, units))
    ctx.emit_stored("BATCH_MATMUL", [x, y], (count, rows, units), order, {"adjY": adjoint})


def _summed(ctx: NodeLowering, index: int, labels: str, elsewhere: str) -> Operand:
    """An input with the axes summed over that no other operand has."""
    shape = ctx.shape(index)
    axes = [axis for axis, label in enumerate(labels) if label not in elsewhere]
    if not axes:
        return Operand(ctx.stored(index), shape, labels)
    kept = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    sums = ctx.fresh(f"sum{index}", kept)
    along = ctx.builder.integers(axes, f"{ctx.name}/axes")
    ctx.builder.emit("SUM", [ctx.tensor(index), along], [sums], {"keepDims": False})
    remaining = "".join(label for label in labels if label in elsewhere)
    return Operand(Stored(sums, Order.of(kept, identity(len(kept)))), kept, remaining)
