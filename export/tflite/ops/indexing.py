"""Operators that select elements: Slice, Split, Gather, ArgMax, TopK."""

from __future__ import annotations

import numpy as np

from edgeconv.export.tflite.builder import Constant, static_shape
from edgeconv.export.tflite.emit.arithmetic import Arithmetic
from edgeconv.export.tflite.emit.indices import from_the_front
from edgeconv.export.tflite.forms import Form
from edgeconv.export.tflite.graph import TYPES, Options, Tensor
from edgeconv.export.tflite.layout import Order, Shape, identity, permuted
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import Integer, operator

INT32, INT64 = TYPES[np.dtype("int32")], TYPES[np.dtype("int64")]


@operator("Slice", integer=Integer.MOVES)
def slice_(ctx: NodeLowering) -> None:
    """SLICE, or STRIDED_SLICE for steps other than 1."""
    shape = ctx.shape(0)
    starts = _numbers(ctx, 1, "starts")
    ends = _numbers(ctx, 2, "ends")
    axes = _numbers(ctx, 3, "axes") if ctx.has(3) else list(range(len(starts)))
    steps = _numbers(ctx, 4, "steps") if ctx.has(4) else [1] * len(starts)
    ranges = [range(size) for size in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = shape[axis]
        # Python limits a slice to the axis just as ONNX does.
        ranges[axis % len(shape)] = range(*slice(start, end, step).indices(size))
    if all(
        len(taken) == size and taken.step == 1 for taken, size in zip(ranges, shape, strict=True)
    ):
        ctx.same(0)
    elif all(taken.step == 1 for taken in ranges):
        perm = ctx.own_perm()
        begin = permuted([taken.start for taken in ranges], perm)
        sizes = permuted([len(taken) for taken in ranges], perm)
        ctx.emit("SLICE", [ctx.tensor(0, perm), *_begin_and_size(ctx, begin, sizes)], perm)
    else:
        _strided_slice(ctx, ranges)


def _begin_and_size(ctx: NodeLowering, begin: Shape, size: Shape) -> list[Tensor]:
    numbers = ctx.builder.integers
    return [numbers(begin, f"{ctx.name}/begin"), numbers(size, f"{ctx.name}/size")]


def _strided_slice(ctx: NodeLowering, ranges: list[range]) -> None:
    perm = ctx.own_perm()
    taken = [ranges[axis] for axis in perm]
    # Behind a backward range that ends at 0 lies -1, which would mean the last element: its bit
    # in the mask says "to the end".
    mask = sum(1 << axis for axis, item in enumerate(taken) if item.stop < 0)
    numbers = [
        ctx.builder.integers([getattr(item, name) for item in taken], f"{ctx.name}/{name}")
        for name in ("start", "stop", "step")
    ]
    ctx.emit("STRIDED_SLICE", [ctx.tensor(0, perm), *numbers], perm, {"endMask": mask})


def _numbers(ctx: NodeLowering, index: int, what: str) -> list[int]:
    return [int(number) for number in ctx.demand_constant(index, what).reshape(-1)]


@operator("Split", integer=Integer.MOVES)
def split(ctx: NodeLowering) -> None:
    """SPLIT into equal parts; a SLICE for each part if they differ (or ``SLICES``).

    XNNPACK takes SLICE, and does not take SPLIT_V.
    """
    shape = ctx.shape(0)
    axis = ctx.attributes.get_int("axis", 0) % len(shape)
    sizes = [static_shape(value)[axis] for value in ctx.node.outputs]
    perm = ctx.own_perm()
    x = ctx.tensor(0, perm)
    if len(set(sizes)) == 1 and not ctx.takes(Form.SLICES):
        along = ctx.builder.integers(np.array(perm.index(axis)), f"{ctx.name}/axis")
        outputs = [ctx.output(index, perm) for index in range(len(sizes))]
        ctx.builder.emit("SPLIT", [along, x], outputs, {"numSplits": len(sizes)})
        return
    start = 0
    for index, size in enumerate(sizes):
        if not size:
            continue
        begin = tuple(start if other == axis else 0 for other in perm)
        part = ctx.output(index, perm)
        ctx.builder.emit("SLICE", [x, *_begin_and_size(ctx, begin, part.shape)], [part])
        start += size


@operator("Gather", integer=Integer.MOVES)
def gather(ctx: NodeLowering) -> None:
    """GATHER; SLICE for one constant index.

    To drop its axis costs nothing. FLOOR_MOD counts computed indices from the front.
    """
    shape = ctx.shape(0)
    axis = ctx.attributes.get_int("axis", 0) % len(shape)
    held = ctx.held(1)
    rank = len(ctx.shape(1))
    perm = ctx.own_perm() if rank < 2 else identity(len(shape))
    kept = tuple(
        int(np.prod(ctx.shape(1))) if other == axis else size for other, size in enumerate(shape)
    )
    place = permuted(kept, perm), Order.of(kept, perm)
    if isinstance(held, Constant):
        indices = held.array.reshape(-1) % shape[axis]
        if indices.size == 1:
            begin = tuple(int(indices[0]) if other == axis else 0 for other in perm)
            x = ctx.tensor(0, perm)
            ctx.emit_stored("SLICE", [x, *_begin_and_size(ctx, begin, place[0])], *place)
            return
        wanted = ctx.builder.integers(indices, f"{ctx.name}/indices")
    else:
        count = int(np.prod(ctx.shape(1)))
        order = Order.of(ctx.shape(1), identity(rank))
        wanted = ctx.builder.arranged(ctx.raw(1), order, (count,))
        wanted = from_the_front(Arithmetic(ctx), wanted, [shape[axis]])
    options: Options = {"axis": perm.index(axis)}
    ctx.emit_stored("GATHER", [ctx.tensor(0, perm), wanted], *place, options)


@operator("GatherND", integer=Integer.MOVES)
def gather_nd(ctx: NodeLowering) -> None:
    """GATHER_ND, with the indices of the batch in front.

    TFLite's indices count all dimensions, those of the batch included.
    """
    batch = ctx.attributes.get_int("batch_dims", 0)
    held = ctx.held(1)
    shape = ctx.shape(0)
    if isinstance(held, Constant):
        array = held.array
        grid = np.indices(array.shape[:-1])[:batch]
        array = np.concatenate([np.moveaxis(grid, 0, -1), array], axis=-1)
        limits = np.array(shape[: array.shape[-1]])
        indices = ctx.builder.integers(array % limits, f"{ctx.name}/indices")
    else:
        indices = ctx.tensor(1)
        depth = indices.shape[-1]
        indices = from_the_front(Arithmetic(ctx), indices, shape[batch : batch + depth])
        if batch:
            indices = _with_batch(ctx, indices, batch)
    ctx.emit("GATHER_ND", [ctx.tensor(0), indices])


def _with_batch(ctx: NodeLowering, indices: Tensor, batch: int) -> Tensor:
    """Indices with those of the first ``batch`` dimensions in front."""
    grid = np.moveaxis(np.indices(indices.shape[:-1])[:batch], 0, -1).astype(indices.dtype)
    shape = (*indices.shape[:-1], batch + indices.shape[-1])
    whole = Tensor(f"{ctx.name}/whole", shape, indices.dtype)
    parts = [ctx.builder.constant(grid, f"{ctx.name}/batch"), indices]
    ctx.builder.emit("CONCATENATION", parts, [whole], {"axis": len(shape) - 1})
    return whole


@operator(
    "ArgMax",
    "ArgMin",
    integer=Integer.INDEX_RESULT,
    reason="it reads its input as it is, and its result is an index",
)
def arg_extreme(ctx: NodeLowering) -> None:
    """ARG_MAX or ARG_MIN, which find the first of several equal elements.

    To find the last, they count from the other end.
    """
    name = "ARG_MAX" if ctx.node.op_type == "ArgMax" else "ARG_MIN"
    shape = ctx.shape(0)
    axis = ctx.attributes.get_int("axis", 0) % len(shape)
    source = ctx.raw(0)
    perm = source.order.nearest_perm(shape)
    kept = tuple(1 if other == axis else size for other, size in enumerate(shape))
    stored = permuted(shape, tuple(other for other in perm if other != axis))
    along = ctx.builder.integers(np.array(perm.index(axis)), f"{ctx.name}/axis")
    x = ctx.builder.placed(source, shape, perm)
    order = Order.of(kept, perm)
    options: Options = {"outputType": INT64}
    if not ctx.attributes.get_int("select_last_index", 0):
        ctx.emit_stored(name, [x, along], stored, order, options)
        return
    turned = Tensor(f"{ctx.name}/turned", x.shape, x.dtype, None, x.quantization)
    row = ctx.builder.reshape(along, (1,))
    ctx.builder.emit("REVERSE_V2", [x, row], [turned])
    index = Tensor(f"{ctx.name}/behind", stored, np.dtype("int64"))
    ctx.builder.emit(name, [turned, along], [index], options)
    last = ctx.builder.constant(np.array(shape[axis] - 1, np.int64), f"{ctx.name}/last")
    ctx.emit_stored("SUB", [last, index], stored, order)


@operator("TopK", integer=Integer.MOVES)
def top_k(ctx: NodeLowering) -> None:
    """TOPK_V2 along the last axis, its int32 indices cast to ONNX's int64.

    The smallest elements are the largest of the mirrored input: -x, and of integers -1 - x, because
    the least integer has no negative.
    """
    smallest = not ctx.attributes.get_int("largest", 1)
    if smallest:
        ctx.refuse_integer("TFLite negates no integers")
    shape = ctx.shape(0)
    axis = ctx.attributes.get_int("axis", -1) % len(shape)
    others = tuple(other for other in range(len(shape)) if other != axis)
    perm = (*others, axis)
    count = int(ctx.demand_constant(1, "k").item())
    number = ctx.builder.integers(np.array(count), f"{ctx.name}/k")
    values, indices = ctx.output(0, perm), ctx.output(1, perm)
    short = Tensor(f"{indices.name}/int32", indices.shape, np.dtype("int32"))
    x, found = ctx.tensor(0, perm), values
    if smallest:
        mirrored = Tensor(f"{ctx.name}/mirrored", x.shape, x.dtype)
        found = Tensor(f"{ctx.name}/found", values.shape, values.dtype)
        _mirror(ctx, x, mirrored)
        x = mirrored
    ctx.builder.emit("TOPK_V2", [x, number], [found, short])
    if smallest:
        _mirror(ctx, found, values)
    options: Options = {"inDataType": INT32, "outDataType": INT64}
    ctx.builder.emit("CAST", [short], [indices], options)


def _mirror(ctx: NodeLowering, x: Tensor, result: Tensor) -> None:
    """Reverse the order of numbers, without leaving their type; done twice it gives them back."""
    if x.dtype.kind == "i":
        last = ctx.builder.constant(np.array(-1, x.dtype), f"{x.name}/last")
        ctx.builder.emit("SUB", [last, x], [result])
    else:
        ctx.builder.emit("NEG", [x], [result])
