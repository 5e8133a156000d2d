"""A sum of Pads, each zero where the others are not (``pad(a) + pad(b)``), is a Concat.

A sum has one scale in int8: boxes in pixels beside scores make every score zero. The parts of a
Concat have scales of their own, and nothing is added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, describe, dims_of, known_array
from edgeconv.export.passes.steps import NodePass


@dataclass(frozen=True)
class _Piece:
    """What lies from ``start`` to ``stop`` along an axis."""

    start: int
    stop: int
    value: ir.Value


@dataclass(frozen=True)
class _Pieces:
    """What a value is made of along ``axis``, in order; between the pieces it is zero."""

    axis: int
    pieces: tuple[_Piece, ...]


class PaddedParts(NodePass):
    """``Add(Pad(a), Pad(b))`` → ``Concat(a, b)``, and so for a Sum of any number.

    Each is padded with zeros along one axis, and none lies where another one does. The result has
    the same values: -0 stays what the sum would make 0, which only a divisor shows, so that a
    result that a division may read stays a sum.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to a sum whose parts lie side by side."""
        return _summed(node) is not None and not _may_divide(node.outputs[0])

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Join the parts; zeros between them are padded to the one in front of them."""
        found, result = _summed(node), node.outputs[0]
        assert found is not None
        size = dims_of(result)[found.axis]
        assert isinstance(size, int)
        starts = [piece.start for piece in found.pieces[1:]]
        parts, begin = [], 0
        for piece, end in zip(found.pieces, [*starts, size], strict=True):
            parts.append(_padded(editor, node, piece, found.axis, (begin, end)))
            begin = end
        joined = ir.node("Concat", parts, {"axis": found.axis}, name=node.name)
        describe(joined.outputs[0], result)
        ir.convenience.replace_nodes_and_values(
            editor.graph, node, [node], [joined], node.outputs, joined.outputs
        )


def _padded(
    editor: GraphEditor, node: ir.Node, piece: _Piece, axis: int, span: tuple[int, int]
) -> ir.Value:
    """``piece`` with zeros around it, so that it is all that lies in ``span``."""
    around = (piece.start - span[0], span[1] - piece.stop)
    if around == (0, 0):
        return piece.value
    dims = dims_of(piece.value)
    pads = np.zeros((2, len(dims)), np.int64)
    pads[:, axis] = around
    amounts = editor.constant(f"{node.name}_pads", pads.reshape(-1))
    pad = ir.node("Pad", [piece.value, amounts])
    pad.name = pad.outputs[0].name = editor.free_name(f"{node.name}/Pad")
    shape = [*dims[:axis], span[1] - span[0], *dims[axis + 1 :]]
    describe(pad.outputs[0], node.outputs[0], shape=shape)
    editor.graph.insert_before(node, pad)
    return pad.outputs[0]


def _summed(node: ir.Node) -> _Pieces | None:
    """The parts of a sum, if they lie side by side along one axis."""
    if node.op_type not in ("Add", "Sum") or node.domain != "" or len(node.inputs) < 2:
        return None
    if any(value is None or value.shape != node.outputs[0].shape for value in node.inputs):
        return None
    found = [_pieces_of(value) for value in node.inputs if value is not None]
    parts = [each for each in found if each is not None]
    if len(parts) < len(found) or len({each.axis for each in parts}) > 1:
        return None
    pieces = sorted((piece for each in parts for piece in each.pieces), key=lambda each: each.start)
    if any(after.start < before.stop for before, after in pairwise(pieces)):
        return None
    return _Pieces(parts[0].axis, tuple(pieces))


def _pieces_of(value: ir.Value) -> _Pieces | None:
    """What a Pad with zeros, or a Concat of such, is made of."""
    node = value.producer()
    if node is None or node.domain != "" or value.shape is None:
        return None
    if node.op_type == "Pad":
        return _padded_pieces(node)
    if node.op_type != "Concat":
        return None
    axis = node.attributes["axis"].as_int() % len(dims_of(value))
    pieces: list[_Piece] = []
    begin = 0
    for part in node.inputs:
        if part is None or part.shape is None or not isinstance(size := dims_of(part)[axis], int):
            return None
        end = begin + size
        inner, array = _pieces_of(part), known_array(part)
        if inner is not None and inner.axis == axis:
            pieces += [
                replace(each, start=begin + each.start, stop=begin + each.stop)
                for each in inner.pieces
            ]
        elif array is None or array.any():
            pieces.append(_Piece(begin, end, part))
        begin = end
    return _Pieces(axis, tuple(pieces))


def _padded_pieces(node: ir.Node) -> _Pieces | None:
    """What a Pad along a single axis puts zeros around."""
    data, amounts = node.inputs[:2]
    value, stated = (node.inputs[i] if len(node.inputs) > i else None for i in (2, 3))
    pads = None if amounts is None else known_array(amounts)
    if pads is None or data is None or data.shape is None or (pads < 0).any():
        return None
    zero = value is None or ((array := known_array(value)) is not None and not array.any())
    if not zero or node.attributes.get_string("mode", "constant") != "constant":
        return None
    axes = np.arange(len(dims_of(data))) if stated is None else known_array(stated)
    if axes is None:
        return None
    around = pads.reshape(2, -1)
    padded = np.flatnonzero(around.any(0))
    if len(padded) != 1:
        return None
    axis = int(axes.reshape(-1)[padded[0]]) % len(dims_of(data))
    size, start = dims_of(data)[axis], int(around[0, padded[0]])
    if not isinstance(size, int):
        return None
    return _Pieces(axis, (_Piece(start, start + size, data),))


def _may_divide(value: ir.Value) -> bool:
    """Whether anything behind ``value`` can tell 0 from -0."""
    waiting, seen = [value], {value}
    while waiting:
        for node, index in waiting.pop().uses():
            divides = node.op_type == "Div" and index == 1
            if divides or node.op_type in ("Reciprocal", "Pow") or _has_body(node):
                return True
            new = [result for result in node.outputs if result not in seen]
            seen.update(new)
            waiting += new
    return False


def _has_body(node: ir.Node) -> bool:
    """Whether other operators may be within ``node``."""
    return node.domain != "" or any(
        attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
        for attribute in node.attributes.values()
    )
