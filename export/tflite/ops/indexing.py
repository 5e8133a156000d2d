"""Operators that select elements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.builder import Constant, static_shape
from edgeconv.export.tflite.graph import TYPES, Options, Tensor
from edgeconv.export.tflite.layout import Order, Perm, Shape, identity, permuted
from edgeconv.export.tflite.node_lowering import Site
from edgeconv.export.tflite.registry import Integer, operator

INT32, INT64 = TYPES[np.dtype("int32")], TYPES[np.dtype("int64")]


def own_perm(site: Site, index: int = 0) -> Perm:
    """The order of axes in which an input is stored, or the nearest one."""
    return site.stored(index).order.nearest_perm(site.shape(index))


@operator("Slice", integer=Integer.MOVES)
def slice_(site: Site) -> None:
    """SLICE, or STRIDED_SLICE for steps other than 1."""
    shape = site.shape(0)
    starts = _numbers(site, 1, "starts")
    ends = _numbers(site, 2, "ends")
    axes = _numbers(site, 3, "axes") if site.has(3) else list(range(len(starts)))
    steps = _numbers(site, 4, "steps") if site.has(4) else [1] * len(starts)
    ranges = [range(size) for size in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = shape[axis]
        # Python limits a slice to the axis just as ONNX does.
        ranges[axis % len(shape)] = range(*slice(start, end, step).indices(size))
    if all(
        len(taken) == size and taken.step == 1 for taken, size in zip(ranges, shape, strict=True)
    ):
        site.same(0)
    elif all(taken.step == 1 for taken in ranges):
        perm = own_perm(site)
        begin = permuted([taken.start for taken in ranges], perm)
        sizes = permuted([len(taken) for taken in ranges], perm)
        site.emit("SLICE", [site.tensor(0, perm), *_begin_and_size(site, begin, sizes)], perm)
    else:
        _strided_slice(site, ranges)


def _begin_and_size(site: Site, begin: Shape, size: Shape) -> list[Tensor]:
    numbers = site.builder.integers
    return [numbers(begin, f"{site.name}/begin"), numbers(size, f"{site.name}/size")]


def _strided_slice(site: Site, ranges: list[range]) -> None:
    perm = own_perm(site)
    taken = [ranges[axis] for axis in perm]
    # Behind a backward range that ends at 0 lies -1, which would mean the last element: its bit
    # in the mask says "to the end".
    mask = sum(1 << axis for axis, item in enumerate(taken) if item.stop < 0)
    numbers = [
        site.builder.integers([getattr(item, name) for item in taken], f"{site.name}/{name}")
        for name in ("start", "stop", "step")
    ]
    site.emit("STRIDED_SLICE", [site.tensor(0, perm), *numbers], perm, {"endMask": mask})


def _numbers(site: Site, index: int, what: str) -> list[int]:
    return [int(number) for number in site.demand_constant(index, what).reshape(-1)]


@operator("Split", integer=Integer.MOVES)
def split(site: Site) -> None:
    """SPLIT into equal parts; a SLICE for each part where they differ, because XNNPACK takes
    those and not SPLIT_V."""
    shape = site.shape(0)
    axis = site.integer_attribute("axis", 0) % len(shape)
    sizes = [static_shape(value)[axis] for value in site.node.outputs]
    perm = own_perm(site)
    x = site.tensor(0, perm)
    if len(set(sizes)) == 1:
        along = site.builder.integers(np.array(perm.index(axis)), f"{site.name}/axis")
        outputs = [site.output(index, perm) for index in range(len(sizes))]
        site.builder.emit("SPLIT", [along, x], outputs, {"numSplits": len(sizes)})
        return
    start = 0
    for index, size in enumerate(sizes):
        if not size:
            continue
        begin = tuple(start if other == axis else 0 for other in perm)
        part = site.output(index, perm)
        site.builder.emit("SLICE", [x, *_begin_and_size(site, begin, part.shape)], [part])
        start += size


@operator("Gather", integer=Integer.MOVES)
def gather(site: Site) -> None:
    """GATHER; one constant index is a SLICE, and to drop its axis costs nothing. FLOOR_MOD counts
    computed indices from the front."""
    shape = site.shape(0)
    axis = site.integer_attribute("axis", 0) % len(shape)
    held = site.held(1)
    rank = len(site.shape(1))
    perm = own_perm(site) if rank < 2 else identity(len(shape))
    kept = tuple(
        int(np.prod(site.shape(1))) if other == axis else size for other, size in enumerate(shape)
    )
    place = permuted(kept, perm), Order.of(kept, perm)
    if isinstance(held, Constant):
        indices = held.array.reshape(-1) % shape[axis]
        if indices.size == 1:
            begin = tuple(int(indices[0]) if other == axis else 0 for other in perm)
            x = site.tensor(0, perm)
            site.emit_stored("SLICE", [x, *_begin_and_size(site, begin, place[0])], *place)
            return
        wanted = site.builder.integers(indices, f"{site.name}/indices")
    else:
        count = int(np.prod(site.shape(1)))
        order = Order.of(site.shape(1), identity(rank))
        wanted = site.builder.arranged(site.raw(1), order, (count,))
        wanted = from_the_front(site, wanted, [shape[axis]])
    options: Options = {"axis": perm.index(axis)}
    site.emit_stored("GATHER", [site.tensor(0, perm), wanted], *place, options)


@operator("GatherND", integer=Integer.MOVES)
def gather_nd(site: Site) -> None:
    """GATHER_ND, whose indices count all dimensions: those of the batch are put in front."""
    batch = site.integer_attribute("batch_dims", 0)
    held = site.held(1)
    shape = site.shape(0)
    if isinstance(held, Constant):
        array = held.array
        grid = np.indices(array.shape[:-1])[:batch]
        array = np.concatenate([np.moveaxis(grid, 0, -1), array], axis=-1)
        limits = np.array(shape[: array.shape[-1]])
        indices = site.builder.integers(array % limits, f"{site.name}/indices")
    else:
        indices = site.tensor(1)
        depth = indices.shape[-1]
        indices = from_the_front(site, indices, shape[batch : batch + depth])
        if batch:
            indices = _with_batch(site, indices, batch)
    site.emit("GATHER_ND", [site.tensor(0), indices])


def _with_batch(site: Site, indices: Tensor, batch: int) -> Tensor:
    """Indices with those of the first ``batch`` dimensions in front."""
    grid = np.moveaxis(np.indices(indices.shape[:-1])[:batch], 0, -1).astype(indices.dtype)
    shape = (*indices.shape[:-1], batch + indices.shape[-1])
    whole = Tensor(f"{site.name}/whole", shape, indices.dtype)
    parts = [site.builder.constant(grid, f"{site.name}/batch"), indices]
    site.builder.emit("CONCATENATION", parts, [whole], {"axis": len(shape) - 1})
    return whole


def from_the_front(site: Site, indices: Tensor, sizes: Sequence[int]) -> Tensor:
    """Indices along axes of ``sizes``, one for each column; TFLite takes none below zero."""
    limits = np.array(sizes[0] if len(sizes) == 1 else sizes, indices.dtype)
    result = Tensor(f"{indices.name}/counted", indices.shape, indices.dtype)
    limit = site.builder.constant(limits, f"{site.name}/sizes")
    site.builder.emit("FLOOR_MOD", [indices, limit], [result])
    return result


@operator("ArgMax", "ArgMin", integer=Integer.READS)
def arg_extreme(site: Site) -> None:
    """ARG_MAX or ARG_MIN, which find the first of several equal elements; to find the last, they
    count from the other end."""
    name = "ARG_MAX" if site.node.op_type == "ArgMax" else "ARG_MIN"
    if site.value(0).dtype == ir.DataType.INT64:
        raise site.unsupported(f"{name} has no kernel for int64", "cast its input to int32")
    shape = site.shape(0)
    axis = site.integer_attribute("axis", 0) % len(shape)
    source = site.raw(0)
    perm = source.order.nearest_perm(shape)
    kept = tuple(1 if other == axis else size for other, size in enumerate(shape))
    stored = permuted(shape, tuple(other for other in perm if other != axis))
    along = site.builder.integers(np.array(perm.index(axis)), f"{site.name}/axis")
    x = site.builder.placed(source, shape, perm)
    order = Order.of(kept, perm)
    options: Options = {"outputType": INT64}
    if not site.integer_attribute("select_last_index", 0):
        site.emit_stored(name, [x, along], stored, order, options)
        return
    turned = Tensor(f"{site.name}/turned", x.shape, x.dtype, None, x.quantization)
    row = site.builder.reshape(along, (1,))
    site.builder.emit("REVERSE_V2", [x, row], [turned])
    index = Tensor(f"{site.name}/behind", stored, np.dtype("int64"))
    site.builder.emit(name, [turned, along], [index], options)
    last = site.builder.constant(np.array(shape[axis] - 1, np.int64), f"{site.name}/last")
    site.emit_stored("SUB", [last, index], stored, order)


@operator("TopK", integer=Integer.MOVES)
def top_k(site: Site) -> None:
    """TOPK_V2 along the last axis, its int32 indices cast to ONNX's int64. The smallest are the
    largest of the negated input."""
    smallest = not site.integer_attribute("largest", 1)
    if smallest:
        site.refuse_integer("TFLite negates no integers")
    shape = site.shape(0)
    axis = site.integer_attribute("axis", -1) % len(shape)
    others = tuple(other for other in range(len(shape)) if other != axis)
    perm = (*others, axis)
    count = int(site.demand_constant(1, "k").item())
    number = site.builder.integers(np.array(count), f"{site.name}/k")
    values, indices = site.output(0, perm), site.output(1, perm)
    short = Tensor(f"{indices.name}/int32", indices.shape, np.dtype("int32"))
    x, found = site.tensor(0, perm), values
    if smallest:
        negated = Tensor(f"{site.name}/negated", x.shape, x.dtype)
        site.builder.emit("NEG", [x], [negated])
        x, found = negated, Tensor(f"{site.name}/found", values.shape, values.dtype)
    site.builder.emit("TOPK_V2", [x, number], [found, short])
    if smallest:
        site.builder.emit("NEG", [found], [values])
    options: Options = {"inDataType": INT32, "outDataType": INT64}
    site.builder.emit("CAST", [short], [indices], options)
