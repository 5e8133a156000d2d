"""How large the integers of an input may be before arithmetic on them leaves its type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import known_array
from edgeconv.export.traits import Trait, operators

Span = tuple[int, int]

# The powers of two that are tried for the largest integer. The first is beyond 32 bits and far from
# the ends of int64.
_EXPONENTS = (40, 30, 23, 15, 11, 7)
# Reals are as large as those of 8 bits. A factor so large makes a mask of flags.
_REAL_EXPONENT = 7
_MASK_FACTOR = 1000.0

_MOVES = operators(Trait.MOVES)
_JOINS = operators(Trait.JOINS) | {"Max", "Min"}
_COMPARES = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
_DECIDES = _COMPARES | {"Not", "And", "Or", "Xor"}
_KEEPS = {"Clip", "Relu", "Identity", "ReduceMax", "ReduceMin", "TopK", "BitwiseNot", "Cast"}
_BITS = {"BitwiseAnd", "BitwiseOr", "BitwiseXor"}
_PLACES = {"ArgMax", "ArgMin"}
_ON_REALS = {
    *("Add", "Sub", "Mul", "Neg", "Abs", "Sign", "Div", "Relu", "Clip", "Cast"),
    *("Floor", "Ceil", "Round", "Sigmoid", "Tanh", "Gemm", "MatMul", "Conv"),
    *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"),
    *_JOINS,
    *_DECIDES,
}


def reach_of(value: ir.Value) -> range | None:
    """What integers of an input may be, if nothing but arithmetic and comparisons read them.

    Args:
        value: An integer input of a graph.

    Returns:
        The widest range that is tried in which no integer that is computed from the inputs leaves
        its type; None where an operator is none of those, or where no such range is known.
    """
    assert value.dtype is not None
    limits = np.iinfo(value.dtype.numpy())
    for exponent in _EXPONENTS:
        high = (1 << exponent) - 1
        if high <= limits.max and _stays_inside(value, high):
            return range(max(-high, int(limits.min)), high + 1)
    return None


def _stays_inside(start: ir.Value, high: int) -> bool:
    """Whether everything computed from integers up to ``high`` stays in its type."""
    spans: dict[ir.Value, Span] = {start: _of_input(start, high)}
    graph = start.graph
    for node in graph or ():
        read = [index for index, value in enumerate(node.inputs) if value in spans]
        if not read:
            continue
        result = node.outputs[0]
        source = node.inputs[read[0]]
        assert source is not None
        if result.dtype is None or source.dtype is None or node.domain != "":
            return False
        if node.op_type in _COMPARES and _is_of_flags(node):
            return False
        if node.op_type in _DECIDES or result.dtype == ir.DataType.BOOL or node.op_type in _PLACES:
            continue
        if result.dtype.is_floating_point():
            if high >= 1 << _REAL_EXPONENT or not _is_plain_on_reals(node, read):
                return False
            spans[result] = (0, 0)
            continue
        if source.dtype.is_floating_point():
            continue  # rounded to integers again
        span = _result_span(node, read, spans, high)
        info = np.iinfo(result.dtype.numpy())
        if span is None or span[0] < info.min or span[1] > info.max:
            return False
        for output in node.outputs if node.op_type == "Split" else node.outputs[:1]:
            spans[output] = span
    return True


def _is_of_flags(node: ir.Node) -> bool:
    """Whether a comparison is with 0 or 1, which decides little about other integers."""
    known = [known_array(value) for value in node.inputs if value is not None]
    return any(array is not None and bool(np.isin(array, (0, 1)).any()) for array in known)


def _of_input(value: ir.Value, high: int) -> Span:
    assert value.dtype is not None
    return (0 if value.dtype.numpy().kind == "u" else -high), high


def _is_plain_on_reals(node: ir.Node, read: Sequence[int]) -> bool:
    """Whether a real function has values for all reals, and is not a mask that flags turn on."""
    if node.op_type in _MOVES:
        return read == [0] or node.op_type in _JOINS
    others = [value for index, value in enumerate(node.inputs) if index not in read]
    constants = [known_array(value) for value in others if value is not None]
    numbers = [array for array in constants if array is not None and array.dtype.kind == "f"]
    if any(array.size and np.abs(array).max() >= _MASK_FACTOR for array in numbers):
        return False
    if node.op_type == "Div":
        return read == [0] and bool(numbers) and bool(numbers[0].all())
    return node.op_type in _ON_REALS


def _result_span(
    node: ir.Node, read: Sequence[int], spans: Mapping[ir.Value, Span], high: int
) -> Span | None:
    """The span of an integer result; None for an operator that is no arithmetic."""
    if node.op_type in _MOVES and node.op_type not in _JOINS:
        return spans[_input(node, 0)] if read == [0] else None
    if node.op_type in _KEEPS:
        low, up = spans[_input(node, read[0])]
        return (min(low, -up - 1), max(up, -low)) if node.op_type == "BitwiseNot" else (low, up)
    known = [_span_of(value, spans, high) for value in node.inputs if value is not None]
    parts = [part for part in known if part is not None]
    if len(parts) < len(known) and node.op_type not in ("Where", "ReduceSum", "CumSum"):
        return None
    combine = _COMBINED.get(node.op_type)
    if combine is not None:
        return combine(parts)
    if node.op_type in _JOINS:
        return _around(parts)
    if node.op_type == "Where":
        several = [_span_of(value, spans, high) for value in node.inputs[1:]]
        return None if None in several else _around([each for each in several if each])
    if node.op_type in ("ReduceSum", "CumSum") and read == [0]:
        count = _count(node.inputs[0])
        low, up = spans[_input(node, 0)]
        return None if count is None else (low * count, up * count)
    if node.op_type in ("Div", "Mod") and read == [0] and not parts[1][0] <= 0 <= parts[1][1]:
        most = max(map(abs, parts[0]))
        return -most, most
    return None


def _input(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index]
    assert value is not None
    return value


def _span_of(value: ir.Value | None, spans: Mapping[ir.Value, Span], high: int) -> Span | None:
    if value is None or value.dtype is None or not value.dtype.is_integer():
        return None
    if value in spans:
        return spans[value]
    known = known_array(value)
    if known is not None and known.size:
        return int(known.min()), int(known.max())
    return _of_input(value, high) if value.is_graph_input() else None


def _count(value: ir.Value | None) -> int | None:
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return max(1, int(np.prod(value.shape.numpy())))


def _around(parts: Sequence[Span]) -> Span:
    return min(low for low, _ in parts), max(up for _, up in parts)


def _product(parts: Sequence[Span]) -> Span:
    corners = [a * b for a in parts[0] for b in parts[1]]
    return min(corners), max(corners)


def _bits(parts: Sequence[Span]) -> Span:
    low, up = _around(parts)
    most = (1 << max(up.bit_length(), (-low).bit_length())) - 1
    return (-most - 1 if low < 0 else 0), most


def _magnitude(parts: Sequence[Span]) -> Span:
    return 0, max(map(abs, parts[0]))


_COMBINED: dict[str, Callable[[Sequence[Span]], Span]] = {
    "Add": lambda parts: (parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]),
    "Sub": lambda parts: (parts[0][0] - parts[1][1], parts[0][1] - parts[1][0]),
    "Mul": _product,
    "Neg": lambda parts: (-parts[0][1], -parts[0][0]),
    "Abs": _magnitude,
    "Sign": lambda parts: (-1, 1),
    **dict.fromkeys(_BITS, _bits),
}
