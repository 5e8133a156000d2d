"""Arithmetic on the indices of gathers and scatters, which count from the front in TFLite."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from edgeconv.export.tflite.builder import Constant
from edgeconv.export.tflite.emit.arithmetic import Arithmetic
from edgeconv.export.tflite.graph import Tensor
from edgeconv.export.tflite.layout import Shape
from edgeconv.export.tflite.node_lowering import NodeLowering

INT32 = np.dtype("int32")
BOOL = np.dtype("bool")


def as_int32(ctx: NodeLowering, tensor: Tensor) -> Tensor:
    """Cast indices to int32, the type that every kernel takes."""
    return tensor if tensor.dtype == INT32 else ctx.builder.cast(tensor, INT32)


def from_the_front(f: Arithmetic, indices: Tensor, sizes: Sequence[int]) -> Tensor:
    """Count negative indices from the front.

    Args:
        f: Emits the operators.
        indices: Indices along one axis, or along as many axes as they have columns.
        sizes: The sizes of those axes.
    """
    return f("FLOOR_MOD", indices, np.array(sizes[0] if len(sizes) == 1 else sizes))


def not_negative(f: Arithmetic, indices: Tensor, size: Tensor) -> Tensor:
    """Count negative indices from the front, and leave those beyond ``size`` where they are."""
    negative = f("LESS", indices, 0, dtype=BOOL)
    more = f.ctx.builder.cast(negative, INT32)
    return f("ADD", indices, f("MUL", more, size))


def flat_places(ctx: NodeLowering, index: int, shape: Shape, axis: int) -> Tensor:
    """Turn indices along one axis into int32 places in the flat value of ``shape``.

    Args:
        ctx: The node.
        index: The node's input that holds the indices.
        shape: The shape of the value.
        axis: The axis.
    """
    strides = [prod(shape[other + 1 :]) for other in range(len(shape))]
    grid = np.indices(ctx.shape(index))
    rest = sum(grid[other] * strides[other] for other in range(len(shape)) if other != axis)
    held = ctx.held(index)
    if isinstance(held, Constant):
        places = held.array % shape[axis] * strides[axis] + rest
        return ctx.builder.integers(places, f"{ctx.name}/places")
    f = Arithmetic(ctx)
    indices = from_the_front(f, as_int32(ctx, ctx.tensor(index)), [shape[axis]])
    offsets = np.asarray(rest) + np.zeros(indices.shape, int)
    return f("ADD", f("MUL", indices, strides[axis]), offsets)
