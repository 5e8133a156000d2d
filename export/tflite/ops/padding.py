"""Pad in all its modes."""

from __future__ import annotations

import numpy as np

from edgeconv.export.tflite.builder import FLOAT, codes
from edgeconv.export.tflite.emit.borders import bordered
from edgeconv.export.tflite.graph import Array, Tensor
from edgeconv.export.tflite.layout import Order
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import Integer, operator

Pairs = list[tuple[int, int]]


@operator("Pad", integer=Integer.MOVES)
def pad(ctx: NodeLowering) -> None:
    """PAD with zeros, PADV2 with another number, GATHER where elements of the input come again.

    Negative amounts remove elements: a SLICE goes first.
    """
    pairs = _pairs(ctx)
    if not any(map(any, pairs)):
        ctx.same(0)
        return
    perm = ctx.own_perm()
    x = ctx.tensor(0, perm)
    mode = ctx.attributes.get_string("mode", "constant")
    ordered = [pairs[axis] for axis in perm]
    if any(min(pair) < 0 for pair in pairs):
        x = _cropped(ctx, x, ordered)
        ordered = [(max(before, 0), max(behind, 0)) for before, behind in ordered]
    if not any(map(any, ordered)):
        ctx.finish(x, Order.of(ctx.result_shape, perm))
        return
    if mode == "constant":
        value = ctx.demand_constant(2, "value") if ctx.has(2) else np.zeros((), FLOAT)
        number = None if value.item() == 0 else _filler(ctx, value.item(), x)
        ctx.finish(bordered(ctx, x, ordered, number), Order.of(ctx.result_shape, perm))
        return
    for axis, (before, behind) in enumerate(ordered):
        if before or behind:
            x = _repeated(ctx, x, axis, mode, before, behind)
    ctx.finish(x, Order.of(ctx.result_shape, perm))


def _pairs(ctx: NodeLowering) -> Pairs:
    """Elements before and behind, for each axis."""
    rank = len(ctx.shape(0))
    amounts = [int(number) for number in ctx.demand_constant(1, "pads")]
    axes = list(range(rank))
    if ctx.has(3):
        axes = [int(axis) % rank for axis in ctx.demand_constant(3, "axes")]
    half = len(amounts) // 2
    pairs = [(0, 0)] * rank
    for axis, before, behind in zip(axes, amounts[:half], amounts[half:], strict=True):
        pairs[axis] = before, behind
    return pairs


def _cropped(ctx: NodeLowering, x: Tensor, pairs: Pairs) -> Tensor:
    """``x`` without the elements that negative amounts remove."""
    begin = [max(-before, 0) for before, _ in pairs]
    shape = tuple(
        size - first - max(-behind, 0)
        for size, first, (_, behind) in zip(x.shape, begin, pairs, strict=True)
    )
    if min(shape) <= 0:
        raise ctx.unsupported("it removes all elements of a dimension", "leave it out")
    result = Tensor(f"{ctx.name}/crop", shape, x.dtype, None, x.quantization)
    numbers = [
        ctx.builder.integers(begin, f"{ctx.name}/begin"),
        ctx.builder.integers(shape, f"{ctx.name}/size"),
    ]
    ctx.builder.emit("SLICE", [x, *numbers], [result])
    return result


def _filler(ctx: NodeLowering, number: float, x: Tensor) -> Array:
    """The number around ``x``, in its type and scale."""
    if ctx.integer:
        return codes(np.array(number, FLOAT), ctx.wanted)
    return np.array(number, x.dtype)


def _repeated(
    ctx: NodeLowering, x: Tensor, axis: int, mode: str, before: int, behind: int
) -> Tensor:
    """``x`` with elements of its own before and behind, along one axis."""
    size = x.shape[axis]
    # ONNX's modes have numpy's names.
    taken = np.pad(np.arange(size), (before, behind), mode=mode)  # type: ignore[call-overload]
    shape = (*x.shape[:axis], len(taken), *x.shape[axis + 1 :])
    result = Tensor(f"{ctx.name}/pad{axis}", shape, x.dtype, None, x.quantization)
    indices = ctx.builder.integers(taken, f"{result.name}/indices")
    ctx.builder.emit("GATHER", [x, indices], [result], {"axis": axis})
    return result
