"""What the integers of a network's inputs may be, as far as the graph shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgeconv.export.data.integer_reach import reach_of
from edgeconv.export.traits import Trait, operators


@dataclass(frozen=True)
class IntegerRange:
    """What synthetic integers of an input are drawn from.

    Attributes:
        values: Every integer that is allowed.
        distinct: Whether the rows (slices along the first axis) of a sample must differ, because a
            scatter writes through them and ONNX leaves repeated indices undefined.
        rows: The rows of the smallest table in which every integer of the input is looked up;
            None where there is no such table.
        table: The name of the node that looks them up.
    """

    values: range
    distinct: bool = False
    rows: int | None = field(default=None, compare=False)
    table: str = field(default="", compare=False)


# Most integers that are not indices are flags and masks.
FLAGS = range(2)
_BYTES = (ir.DataType.INT8, ir.DataType.UINT8)
_FACTORS = range(1, 10)
_SCATTERS = {"ScatterND", "ScatterElements"}
# Operators that hand integers on: nothing is known of them but what their readers make of them.
_MOVING = operators(Trait.MOVES) | {"Cast"}
_JOINING = operators(Trait.JOINS)


def integer_ranges(model: ir.Model) -> dict[str, IntegerRange]:
    """Find what the synthetic values of each integer input of an optimized graph are drawn from.

    Indices stay below the smallest size that they index, bytes have their whole range, divisors are
    not zero, and what only arithmetic reads is of both signs and as large as its results fit into
    their types. Quantized values that stand for reals are left out.
    """
    return {
        str(value.name): IntegerRange(
            _span(value, value.dtype), _is_distinct(value), *_smallest_table(value)
        )
        for value in model.graph.inputs
        if value.dtype is not None and value.dtype.is_integer()
        if not any(node.op_type == "DequantizeLinear" for node in value.consumers())
    }


def _span(value: ir.Value, dtype: ir.DataType) -> range:
    readers = list(_readers(value, set()))
    limits = [limit for node, index in readers if (limit := _limit(node, index)) is not None]
    if limits:
        return range(max(1, min(*limits, int(np.iinfo(dtype.numpy()).max) + 1)))
    divided = {index for node, index in readers if node.op_type in ("Div", "Mod")}
    if 1 in divided:
        return _FACTORS
    if dtype not in _BYTES and (reach := reach_of(value)) is not None:
        return reach
    if divided and dtype not in _BYTES:
        return _FACTORS
    if dtype in _BYTES:
        info = np.iinfo(dtype.numpy())
        return range(int(info.min), int(info.max) + 1)
    return FLAGS


# Operators whose result holds every integer of what they read.
_WHOLE = {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}


def _smallest_table(value: ir.Value) -> tuple[int | None, str]:
    """The rows of the smallest table in which all the integers are looked up, and its node."""
    found: list[tuple[int, str]] = []
    for node, index in value.uses():
        if node.op_type == "Gather" and index == 1:
            rows = _limit(node, index)
            found += [] if rows is None else [(rows, str(node.name))]
        elif node.op_type in _WHOLE and index == 0:
            inner, table = _smallest_table(node.outputs[0])
            found += [] if inner is None else [(inner, table)]
    return min(found, default=(None, ""))


def _is_distinct(value: ir.Value) -> bool:
    """Whether a scatter without a reduction reads the integers as indices."""
    return any(
        node.op_type in _SCATTERS
        and index == 1
        and node.attributes.get_string("reduction", "none") == "none"
        for node, index in _readers(value, set())
    )


def _readers(value: ir.Value, seen: set[ir.Value]) -> Iterator[tuple[ir.Node, int]]:
    """Who reads the integers, and as which of its inputs."""
    if value in seen:
        return
    seen.add(value)
    for node, index in value.uses():
        yield node, index
        if node.op_type in _MOVING and (index == 0 or node.op_type in _JOINING):
            for output in node.outputs:
                yield from _readers(output, seen)


def _limit(node: ir.Node, index: int) -> int | None:
    """What an index that ``node`` reads has to stay below; None if it is none."""
    if node.op_type in ("Gather", "GatherElements", "ScatterElements") and index == 1:
        return _size(node.inputs[0], node.attributes.get_int("axis", 0))
    if node.op_type in ("GatherND", "ScatterND") and index == 1:
        return _smallest_indexed(node)
    if node.op_type == "RoiAlign" and index == 2:
        return _size(node.inputs[0], 0)
    if node.op_type == "OneHot" and index == 0:
        depth = node.inputs[1].const_value if node.inputs[1] is not None else None
        return None if depth is None else int(depth.numpy().item())
    if node.op_type == "Cast" and node.attributes.get_int("to", 0) == ir.DataType.BOOL:
        return len(FLAGS)
    return None


def _smallest_indexed(node: ir.Node) -> int | None:
    """The smallest dimension that the index tuples of GatherND or ScatterND index."""
    indices = node.inputs[1]
    length = _size(indices, -1)
    first = node.attributes.get_int("batch_dims", 0)
    sizes = [_size(node.inputs[0], first + axis) for axis in range(length or 0)]
    known = [size for size in sizes if size is not None]
    return min(known) if known and len(known) == len(sizes) else None


def _size(value: ir.Value | None, axis: int) -> int | None:
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return int(value.shape.numpy()[axis])
