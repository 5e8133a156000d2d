"""Operators on single places of a tensor: GatherElements, Scatter, OneHot, Trilu."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.builder import Constant, codes
from edgeconv.export.tflite.emit.arithmetic import Arithmetic
from edgeconv.export.tflite.emit.indices import (
    BOOL,
    as_int32,
    flat_places,
    from_the_front,
    not_negative,
)
from edgeconv.export.tflite.graph import Array, Quantization, Tensor
from edgeconv.export.tflite.layout import Order, Shape, identity
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import Integer, operator

MOST_COMPARISONS = 2**22
"""Between updates of one line, to find those that go to one place."""


@operator("GatherElements", integer=Integer.MOVES)
def gather_elements(ctx: NodeLowering) -> None:
    """GATHER from the flat input."""
    shape, taken = ctx.shape(0), ctx.shape(1)
    axis = ctx.attributes.get_int("axis", 0) % len(shape)
    x = ctx.builder.reshape(ctx.tensor(0), (prod(shape),))
    places = flat_places(ctx, 1, shape, axis)
    order = Order.of(taken, identity(len(taken)))
    ctx.emit_stored("GATHER", [x, places], taken, order, {"axis": 0})


@operator("Scatter", integer=Integer.MOVES, reason="opset 11 replaced it by ScatterElements")
@operator("ScatterElements", integer=Integer.MOVES)
def scatter_elements(ctx: NodeLowering) -> None:
    """With constant indices a GATHER from the input and the updates; else SCATTER_ND."""
    shape = ctx.shape(0)
    axis = ctx.attributes.get_int("axis", 0) % len(shape)
    places = flat_places(ctx, 1, shape, axis)
    if places.data is not None and ctx.attributes.get_string("reduction", "none") == "none":
        _merge(ctx, places.data.reshape(-1))
        return
    column = ctx.builder.reshape(places, (prod(places.shape), 1))
    taken = ctx.shape(1)
    lines = (prod(taken[:axis]), taken[axis], prod(taken[axis + 1 :]))
    _scatter(ctx, column, (prod(shape),), (prod(taken),), ctx.builder.reshape(places, lines))


@operator("ScatterND", integer=Integer.MOVES)
def scatter_nd(ctx: NodeLowering) -> None:
    """With constant indices a GATHER from the input and the updates; else SCATTER_ND."""
    shape = ctx.shape(0)
    held = ctx.held(1)
    if isinstance(held, Constant) and ctx.attributes.get_string("reduction", "none") == "none":
        depth = held.array.shape[-1]
        columns = np.moveaxis(held.array % np.array(shape[:depth]), -1, 0)
        numbers = np.arange(prod(shape)).reshape(shape)
        _merge(ctx, numbers[tuple(columns)].reshape(-1))
        return
    if isinstance(held, Constant):
        limits = np.array(shape[: held.array.shape[-1]])
        indices = ctx.builder.integers(held.array % limits, f"{ctx.name}/indices")
    else:
        indices = as_int32(ctx, ctx.tensor(1))
        indices = from_the_front(Arithmetic(ctx), indices, shape[: indices.shape[-1]])
    _scatter(ctx, indices, shape, ctx.shape(2), _row_numbers(ctx, indices, shape))


def _row_numbers(ctx: NodeLowering, indices: Tensor, shape: Shape) -> Tensor:
    """The place of each row of ``indices`` among all, as 1 × rows × 1."""
    depth = indices.shape[-1]
    strides = np.array([prod(shape[axis + 1 : depth]) for axis in range(depth)])
    f = Arithmetic(ctx, "row/")
    along = ctx.builder.integers([len(indices.shape) - 1], f"{ctx.name}/along")
    numbers = f.emit("SUM", [f("MUL", indices, strides), along], indices.shape[:-1])
    return ctx.builder.reshape(numbers, (1, prod(indices.shape[:-1]), 1))


def _merge(ctx: NodeLowering, places: Array) -> None:
    """Put the updates at the ``places`` of the flat input; the last one wins."""
    shape = ctx.shape(0)
    total = prod(shape)
    source = np.arange(total)
    source[places] = total + np.arange(len(places))
    parts: list[Tensor] = []
    for index in (0, 2):
        part = ctx.tensor(index)
        if ctx.integer:
            part = ctx.builder.quantize(part, ctx.wanted)
        parts.append(ctx.builder.reshape(part, (prod(part.shape),)))
    joined = Tensor(
        f"{ctx.name}/joined",
        (total + len(places),),
        parts[0].dtype,
        None,
        parts[0].quantization,
    )
    ctx.builder.emit("CONCATENATION", parts, [joined], {"axis": 0})
    wanted = ctx.builder.integers(source.reshape(shape), f"{ctx.name}/source")
    order = Order.of(shape, identity(len(shape)))
    ctx.emit_stored("GATHER", [joined, wanted], shape, order, {"axis": 0})


def _scatter(
    ctx: NodeLowering, indices: Tensor, shape: Shape, updated: Shape, lines: Tensor
) -> None:
    """Emit SCATTER_ND of the updates into zeros, which adds where indices repeat.

    The result is then the sum with the input, or the input where nothing was put.

    Args:
        ctx: The node.
        indices: The indices of the updates, a row for each.
        shape: The shape of the input.
        updated: The shape of the updates.
        lines: The places of the updates as before × along × behind; only those of one line may be
            equal.
    """
    ctx.refuse_integer("its indices are computed by the network")
    reduction = ctx.attributes.get_string("reduction", "none")
    builder = ctx.builder
    data = builder.reshape(ctx.tensor(0), shape)
    updates = builder.reshape(ctx.tensor(2), updated)
    sizes = builder.integers(shape, f"{ctx.name}/shape")
    f = Arithmetic(ctx)
    order = Order.of(ctx.result_shape, identity(len(ctx.result_shape)))
    if reduction == "add":
        put = f.emit("SCATTER_ND", [indices, updates, sizes], shape, dtype=data.dtype)
        ctx.emit_stored("ADD", [data, put], shape, order)
        return
    ones = builder.integers(np.ones(updated), f"{ctx.name}/ones")
    counts = f.emit("SCATTER_ND", [indices, ones, sizes], shape)
    put = _put_once(ctx, f, (indices, updates, sizes), lines, counts)
    changed = f("GREATER", counts, 0, dtype=BOOL)
    ctx.emit_stored("SELECT_V2", [changed, put, data], shape, order)


def _put_once(
    ctx: NodeLowering,
    f: Arithmetic,
    scattered: tuple[Tensor, Tensor, Tensor],
    lines: Tensor,
    counts: Tensor,
) -> Tensor:
    """The updates in zeros, one of those that go to one place.

    PyTorch on a CPU and ONNX Runtime keep the last one. Where there are too many to compare, it is
    their mean, which is right if they are equal, as in a MaxUnpool of windows that overlap.
    """
    indices, updates, sizes = scattered
    shape, dtype = counts.shape, updates.dtype
    held = ctx.held(2)
    if isinstance(held, Constant) and held.array.size and np.all(held.array == held.array.flat[0]):
        return ctx.builder.constant(np.asarray(held.array.flat[0], dtype), f"{ctx.name}/update")
    before, along, behind = lines.shape
    if before * along * along * behind <= MOST_COMPARISONS:
        if along > 1:
            updates = _without_overwritten(ctx, f, updates, lines)
        return f.emit("SCATTER_ND", [indices, updates, sizes], shape, dtype=dtype)
    if dtype.kind in "iu":
        raise ctx.unsupported(
            f"its {prod(lines.shape)} updates in integers are too many to compare",
            "scatter real numbers, or fewer at a time",
        )
    total = f.emit("SCATTER_ND", [indices, updates, sizes], shape, dtype=dtype)
    if dtype == BOOL:
        return total
    return f("DIV", total, ctx.builder.cast(f("MAXIMUM", counts, 1), dtype))


def _without_overwritten(
    ctx: NodeLowering, f: Arithmetic, updates: Tensor, lines: Tensor
) -> Tensor:
    """The updates, zero where a later one of the line goes to the same place."""
    builder = ctx.builder
    before, along, behind = lines.shape
    earlier = builder.reshape(lines, (before, along, 1, behind))
    later = builder.reshape(lines, (before, 1, along, behind))
    same = f("EQUAL", earlier, later, dtype=BOOL)
    is_later = np.triu(np.ones((along, along), bool), 1).reshape(1, along, along, 1)
    overwrites = f("LOGICAL_AND", same, is_later)
    axis = builder.integers([2], f"{ctx.name}/later")
    overwritten = f.emit("REDUCE_ANY", [overwrites, axis], lines.shape)
    rows = prod(lines.shape)
    table = builder.reshape(updates, (rows, prod(updates.shape) // max(1, rows)))
    zero = builder.constant(np.zeros((), updates.dtype), f"{ctx.name}/zero")
    mask = builder.reshape(overwritten, (rows, 1))
    kept = f.emit("SELECT_V2", [mask, zero, table], table.shape, dtype=updates.dtype)
    return builder.reshape(kept, updates.shape)


@operator("OneHot")
def one_hot(ctx: NodeLowering) -> None:
    """ONE_HOT, with negative indices counted from the end first."""
    depth = int(ctx.demand_constant(1, "depth").reshape(-1)[0])
    values = ctx.demand_constant(2, "values").reshape(-1)
    held = ctx.held(0)
    builder = ctx.builder
    size = builder.integers(np.array(depth), f"{ctx.name}/depth")
    if isinstance(held, Constant):
        array = held.array.astype(np.int64)
        indices = builder.integers(np.where(array < 0, array + depth, array), "indices")
    else:
        indices = not_negative(Arithmetic(ctx), as_int32(ctx, ctx.tensor(0)), size)
    off, on = (builder.constant(np.array(number), f"{ctx.name}/value") for number in values)
    axis = ctx.attributes.get_int("axis", -1) % len(ctx.result_shape)
    ctx.emit("ONE_HOT", [indices, size, on, off], None, {"axis": axis})


@operator(
    "Trilu",
    integer=Integer.MOVES,
    reason="it masks products of activations, which are in float before and behind it",
)
def trilu(ctx: NodeLowering) -> None:
    """SELECT_V2 between the input and zeros, by a constant mask."""
    x = ctx.tensor(0)
    rows, columns = x.shape[-2:]
    diagonal = int(ctx.demand_constant(1, "k").item()) if ctx.has(1) else 0
    ones = np.ones((1,) * (len(x.shape) - 2) + (rows, columns), bool)
    upper = ctx.attributes.get_int("upper", 1)
    mask = np.triu(ones, diagonal) if upper else np.tril(ones, diagonal)
    zero: Array = np.zeros(1, x.dtype)
    if ctx.value(0).dtype == ir.DataType.FLOAT and isinstance(x.quantization, Quantization):
        zero = codes(np.zeros(1, np.float32), x.quantization)
    operands = [
        ctx.builder.constant(mask, f"{ctx.name}/mask"),
        x,
        ctx.builder.constant(zero, f"{ctx.name}/zero", x.quantization),
    ]
    ctx.emit("SELECT_V2", operands)
