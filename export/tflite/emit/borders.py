"""Elements around a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from edgeconv.export.tflite.forms import Form
from edgeconv.export.tflite.graph import Array, Quantization, Tensor
from edgeconv.export.tflite.layout import Shape
from edgeconv.export.tflite.node_lowering import NodeLowering

Pairs = Sequence[tuple[int, int]]

LEAST_JOINED = 256
"""The least elements of a tensor for which two operators are no loss."""
LEAST_RUN = 16
"""The least elements that lie together between two borders, for which to copy runs is no loss."""
_MOST_AXES = 5  # that PAD and PADV2 take


def bordered(
    ctx: NodeLowering, x: Tensor, pairs: Pairs, number: Array | None = None, name: str = "pad"
) -> Tensor:
    """Put elements around ``x`` by PAD, PADV2, or a CONCATENATION along each axis.

    Args:
        ctx: The node.
        x: The tensor.
        pairs: How many elements come before and behind, for each axis.
        number: The element, of the type of ``x``; None is zero, or the code for it.
        name: A part of the name of the result.
    """
    if ctx.takes(Form.JOINED_BORDERS) and _worth_joining(x, pairs):
        return _joined(ctx, x, pairs, number, name)
    whole = _grown(x.shape, pairs)
    if len(pairs) > _MOST_AXES:
        merged, pairs = _merged(x.shape, pairs)
        x = ctx.builder.reshape(x, merged)
    shape = _grown(x.shape, pairs)
    result = Tensor(f"{ctx.name}/{name}", shape, x.dtype, None, x.quantization)
    amounts = ctx.builder.integers(np.array(pairs), f"{ctx.name}/paddings")
    if number is None:
        ctx.builder.emit("PAD", [x, amounts], [result])
    else:
        value = ctx.builder.constant(number.reshape(1), f"{ctx.name}/border", x.quantization)
        ctx.builder.emit("PADV2", [x, amounts, value], [result])
    return ctx.builder.reshape(result, whole)


def _grown(shape: Shape, pairs: Pairs) -> Shape:
    return tuple(size + sum(pair) for size, pair in zip(shape, pairs, strict=True))


def _merged(shape: Shape, pairs: Pairs) -> tuple[Shape, Pairs]:
    """The sizes and pairs with neighbors that nothing comes around as one axis."""
    sizes, found = list[int](), list[tuple[int, int]]()
    for size, pair in zip(shape, pairs, strict=True):
        if found and not any(pair) and not any(found[-1]):
            sizes[-1] *= size
        else:
            sizes.append(size)
            found.append(pair)
    return tuple(sizes), found


def _worth_joining(x: Tensor, pairs: Pairs) -> bool:
    inner = max(axis for axis, pair in enumerate(pairs) if any(pair))
    return prod(x.shape) >= LEAST_JOINED and prod(x.shape[inner:]) >= LEAST_RUN


def _joined(ctx: NodeLowering, x: Tensor, pairs: Pairs, number: Array | None, name: str) -> Tensor:
    """``x`` between constants, along each axis."""
    assert isinstance(x.quantization, Quantization)
    filler = x.quantization.zero_point if number is None else number.item()
    for axis, pair in enumerate(pairs):
        if not any(pair):
            continue
        before, behind = (
            ctx.builder.constant(
                np.full((*x.shape[:axis], count, *x.shape[axis + 1 :]), filler, x.dtype),
                f"{ctx.name}/border{axis}",
                x.quantization,
            )
            for count in pair
        )
        parts = [part for part in (before, x, behind) if part.shape[axis]]
        size = sum(part.shape[axis] for part in parts)
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        x = Tensor(f"{ctx.name}/{name}{axis}", shape, x.dtype, None, x.quantization)
        ctx.builder.emit("CONCATENATION", parts, [x], {"axis": axis})
    return x
