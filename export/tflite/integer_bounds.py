"""Between which numbers the elements of an integer tensor lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import known_array
from edgeconv.export.traits import Trait, operators

_PLACES = {"ArgMax": 0, "ArgMin": 0, "TopK": 1}
"""The result of these operators that holds places along an axis."""
_MOVES = {*operators(Trait.KEEPS_RANGE), "Reshape", "Gather", "GatherElements", "GatherND", "Slice"}
_DEPTH = 12


@dataclass(frozen=True)
class Bounds:
    """The least and the greatest number that may be among the elements."""

    low: int
    high: int

    @property
    def fit_in_32_bits(self) -> bool:
        """Whether no element needs more."""
        limits = np.iinfo(np.int32)
        return limits.min <= self.low and self.high <= limits.max


def bounds_of(value: ir.Value, depth: int = _DEPTH) -> Bounds:
    """The bounds of an integer or boolean tensor, at least those of its type."""
    assert value.dtype is not None
    known = known_array(value)
    if known is not None and known.size:
        return Bounds(int(known.min()), int(known.max()))
    whole = _of_type(value.dtype)
    node = value.producer()
    if node is None or depth == 0:
        return whole
    found = _of_node(node, value, depth - 1)
    if found is None or found.low < whole.low or found.high > whole.high:  # it may wrap around
        return whole
    return found


def _of_type(dtype: ir.DataType) -> Bounds:
    if dtype is ir.DataType.BOOL:
        return Bounds(0, 1)
    limits = np.iinfo(dtype.numpy())
    return Bounds(int(limits.min), int(limits.max))


def _of_node(node: ir.Node, value: ir.Value, depth: int) -> Bounds | None:
    inputs = [each for each in node.inputs if each is not None]
    if node.op_type in _PLACES:
        if node.outputs[_PLACES[node.op_type]] is not value or inputs[0].shape is None:
            return None
        sides = [side for side in inputs[0].shape if isinstance(side, int)]
        return Bounds(0, max(sides, default=1) - 1)
    if not inputs or any(each.dtype is None or each.dtype.is_floating_point() for each in inputs):
        return None
    if node.op_type in _MOVES:
        return bounds_of(inputs[0], depth)
    if node.op_type == "Cast":
        return bounds_of(inputs[0], depth)
    if node.op_type == "Mod" and not node.attributes.get_int("fmod", 0):
        divisor = bounds_of(inputs[1], depth)
        return Bounds(min(0, divisor.low + 1), max(0, divisor.high - 1))
    if node.op_type in ("Add", "Sub", "Mul", "Max", "Min", "Where", "Concat"):
        several = inputs[1:] if node.op_type == "Where" else inputs
        return _combined(node.op_type, [bounds_of(each, depth) for each in several])
    return None


def _combined(op_type: str, parts: list[Bounds]) -> Bounds:
    lows, highs = [part.low for part in parts], [part.high for part in parts]
    if op_type == "Add":
        return Bounds(sum(lows), sum(highs))
    if op_type == "Sub":
        return Bounds(lows[0] - highs[1], highs[0] - lows[1])
    if op_type == "Mul":
        corners = [a * b for a in (lows[0], highs[0]) for b in (lows[1], highs[1])]
        return Bounds(min(corners), max(corners))
    if op_type == "Max":
        return Bounds(max(lows), max(highs))
    if op_type == "Min":
        return Bounds(min(lows), min(highs))
    return Bounds(min(lows), max(highs))
