"""Elements taken from and put to single places: GatherElements, Scatter, OneHot, Trilu."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.builder import Constant, codes
from edgeconv.export.tflite.graph import Array, Quantization, Tensor
from edgeconv.export.tflite.layout import Order, Shape, identity
from edgeconv.export.tflite.node_lowering import Site
from edgeconv.export.tflite.ops.indexing import from_the_front
from edgeconv.export.tflite.registry import Integer, operator

INT32 = np.dtype("int32")
BOOL = np.dtype("bool")


@operator("GatherElements", integer=Integer.MOVES)
def gather_elements(site: Site) -> None:
    """GATHER from the flat input, where a place is its index times a stride plus the rest."""
    shape, taken = site.shape(0), site.shape(1)
    axis = site.integer_attribute("axis", 0) % len(shape)
    x = site.builder.reshape(site.tensor(0), (prod(shape),))
    places = _places(site, 1, shape, axis)
    order = Order.of(taken, identity(len(taken)))
    site.emit_stored("GATHER", [x, places], taken, order, {"axis": 0})


def _places(site: Site, index: int, shape: Shape, axis: int) -> Tensor:
    """Places in the flat value of ``shape`` for indices along one axis, in int32."""
    strides = [prod(shape[other + 1 :]) for other in range(len(shape))]
    grid = np.indices(site.shape(index))
    rest = sum(grid[other] * strides[other] for other in range(len(shape)) if other != axis)
    held = site.held(index)
    if isinstance(held, Constant):
        places = held.array % shape[axis] * strides[axis] + rest
        return site.builder.integers(places, f"{site.name}/places")
    indices = from_the_front(site, as_int32(site, site.tensor(index)), [shape[axis]])
    scaled = Tensor(f"{site.name}/scaled", indices.shape, INT32)
    stride = site.builder.integers(np.array(strides[axis]), f"{site.name}/stride")
    site.builder.emit("MUL", [indices, stride], [scaled])
    places = Tensor(f"{site.name}/places", indices.shape, INT32)
    offsets = site.builder.integers(np.asarray(rest) + np.zeros(indices.shape, int), "offsets")
    site.builder.emit("ADD", [scaled, offsets], [places])
    return places


def as_int32(site: Site, tensor: Tensor) -> Tensor:
    """Indices in the type that every kernel takes."""
    return tensor if tensor.dtype == INT32 else site.builder.cast(tensor, INT32)


@operator("ScatterElements", "Scatter", integer=Integer.MOVES)
def scatter_elements(site: Site) -> None:
    """With constant indices a GATHER from the input and the updates; else SCATTER_ND."""
    shape = site.shape(0)
    axis = site.integer_attribute("axis", 0) % len(shape)
    places = _places(site, 1, shape, axis)
    if places.data is not None and site.string_attribute("reduction", "none") == "none":
        _merge(site, places.data.reshape(-1))
        return
    column = site.builder.reshape(places, (prod(places.shape), 1))
    _scatter(site, column, (prod(shape),), (prod(places.shape),))


@operator("ScatterND", integer=Integer.MOVES)
def scatter_nd(site: Site) -> None:
    """With constant indices a GATHER from the input and the updates; else SCATTER_ND."""
    shape = site.shape(0)
    held = site.held(1)
    if isinstance(held, Constant) and site.string_attribute("reduction", "none") == "none":
        depth = held.array.shape[-1]
        columns = np.moveaxis(held.array % np.array(shape[:depth]), -1, 0)
        numbers = np.arange(prod(shape)).reshape(shape)
        _merge(site, numbers[tuple(columns)].reshape(-1))
        return
    if isinstance(held, Constant):
        limits = np.array(shape[: held.array.shape[-1]])
        indices = site.builder.integers(held.array % limits, f"{site.name}/indices")
    else:
        indices = as_int32(site, site.tensor(1))
        indices = from_the_front(site, indices, shape[: indices.shape[-1]])
    _scatter(site, indices, shape, site.shape(2))


def _merge(site: Site, places: Array) -> None:
    """The input with the updates at the ``places`` of its flat form; the last one wins."""
    shape = site.shape(0)
    total = prod(shape)
    source = np.arange(total)
    source[places] = total + np.arange(len(places))
    parts: list[Tensor] = []
    for index in (0, 2):
        part = site.tensor(index)
        if site.integer:
            part = site.builder.quantize(part, site.wanted)
        parts.append(site.builder.reshape(part, (prod(part.shape),)))
    joined = Tensor(
        f"{site.name}/joined", (total + len(places),), parts[0].dtype, None, parts[0].quantization
    )
    site.builder.emit("CONCATENATION", parts, [joined], {"axis": 0})
    wanted = site.builder.integers(source.reshape(shape), f"{site.name}/source")
    order = Order.of(shape, identity(len(shape)))
    site.emit_stored("GATHER", [joined, wanted], shape, order, {"axis": 0})


def _scatter(site: Site, indices: Tensor, shape: Shape, updated: Shape) -> None:
    """SCATTER_ND of the updates into zeros, which adds where indices repeat; then a sum with the
    input, or a selection by where anything was put."""
    site.refuse_integer("its indices are computed by the network")
    reduction = site.string_attribute("reduction", "none")
    builder = site.builder
    data = builder.reshape(site.tensor(0), shape)
    updates = builder.reshape(site.tensor(2), updated)
    sizes = builder.integers(shape, f"{site.name}/shape")
    put = Tensor(f"{site.name}/put", shape, data.dtype)
    builder.emit("SCATTER_ND", [indices, updates, sizes], [put])
    order = Order.of(site.result_shape, identity(len(site.result_shape)))
    if reduction == "add":
        site.emit_stored("ADD", [data, put], shape, order)
        return
    ones = builder.integers(np.ones(updated), f"{site.name}/ones")
    counts = Tensor(f"{site.name}/counts", shape, INT32)
    builder.emit("SCATTER_ND", [indices, ones, sizes], [counts])
    changed = Tensor(f"{site.name}/changed", shape, BOOL)
    zero = builder.integers(np.array(0), f"{site.name}/zero")
    builder.emit("GREATER", [counts, zero], [changed])
    site.emit_stored("SELECT_V2", [changed, put, data], shape, order)


@operator("OneHot")
def one_hot(site: Site) -> None:
    """ONE_HOT, with negative indices counted from the end first."""
    depth = int(site.demand_constant(1, "depth").reshape(-1)[0])
    values = site.demand_constant(2, "values").reshape(-1)
    held = site.held(0)
    builder = site.builder
    size = builder.integers(np.array(depth), f"{site.name}/depth")
    if isinstance(held, Constant):
        array = held.array.astype(np.int64)
        indices = builder.integers(np.where(array < 0, array + depth, array), "indices")
    else:
        indices = _not_negative(site, as_int32(site, site.tensor(0)), size)
    off, on = (builder.constant(np.array(number), f"{site.name}/value") for number in values)
    axis = site.integer_attribute("axis", -1) % len(site.result_shape)
    site.emit("ONE_HOT", [indices, size, on, off], None, {"axis": axis})


def _not_negative(site: Site, indices: Tensor, size: Tensor) -> Tensor:
    """indices + size * (indices < 0), which leaves those beyond the size where they are."""
    builder = site.builder
    negative = Tensor(f"{site.name}/negative", indices.shape, BOOL)
    zero = builder.integers(np.array(0), f"{site.name}/zero")
    builder.emit("LESS", [indices, zero], [negative])
    more = builder.cast(negative, INT32)
    scaled = Tensor(f"{site.name}/scaled", indices.shape, INT32)
    builder.emit("MUL", [more, size], [scaled])
    result = Tensor(f"{site.name}/indices", indices.shape, INT32)
    builder.emit("ADD", [indices, scaled], [result])
    return result


@operator("Trilu", integer=Integer.MOVES)
def trilu(site: Site) -> None:
    """SELECT_V2 between the input and zeros, by a constant mask."""
    x = site.tensor(0)
    rows, columns = x.shape[-2:]
    diagonal = int(site.demand_constant(1, "k").item()) if site.has(1) else 0
    ones = np.ones((1,) * (len(x.shape) - 2) + (rows, columns), bool)
    upper = site.integer_attribute("upper", 1)
    mask = np.triu(ones, diagonal) if upper else np.tril(ones, diagonal)
    zero: Array = np.zeros(1, x.dtype)
    if site.value(0).dtype == ir.DataType.FLOAT and isinstance(x.quantization, Quantization):
        zero = codes(np.zeros(1, np.float32), x.quantization)
    operands = [
        site.builder.constant(mask, f"{site.name}/mask"),
        x,
        site.builder.constant(zero, f"{site.name}/zero", x.quantization),
    ]
    site.emit("SELECT_V2", operands)
