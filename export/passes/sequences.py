"""Sequences whose lengths and positions are known become the tensors that they hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, describe, known_array
from edgeconv.export.passes.simplification import Simplify

_READERS = {"SequenceAt", "SequenceLength", "ConcatFromSequence"}
_WRITERS = {"SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase"}
_KINDS = {"SplitToSequence", "SequenceMap", *_WRITERS, *_READERS}


class Sequences(ir.passes.InPlacePass):
    """Replaces what reads sequences by what it reads of them.

    A sequence stays where its length or a position is not known, and where it is an output.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Follow the sequences through the graph, and drop those that nothing reads any more."""
        if not any(node.op_type in _KINDS for node in model.graph):
            return ir.passes.PassResult(model, modified=False)
        follower = _Follower(model.graph)
        for node in list(model.graph):
            if node.domain == "" and node.op_type in _KINDS:
                follower.follow(node)
        Simplify()(model)  # shapes and lengths are known now
        return ir.passes.PassResult(model, modified=True)


class _Follower:
    def __init__(self, graph: ir.Graph) -> None:
        self._editor = GraphEditor(graph)
        self._held: dict[ir.Value, list[ir.Value]] = {}

    def follow(self, node: ir.Node) -> None:
        """Remember the sequence that a node makes, or replace a node that reads one."""
        if node.op_type == "SequenceMap":
            self._map(node)
            return
        if node.op_type == "SplitToSequence":
            parts = self._split(node)
        elif node.op_type in _WRITERS:
            parts = self._written(node)
        else:
            self._read(node)
            return
        if parts is not None:
            self._held[node.outputs[0]] = parts

    def _written(self, node: ir.Node) -> list[ir.Value] | None:
        given = [value for value in node.inputs if value is not None]
        if node.op_type == "SequenceConstruct":
            return given
        if node.op_type == "SequenceEmpty":
            return []
        parts = self._held.get(given[0])
        inserts = node.op_type == "SequenceInsert"
        index = None if parts is None else _position(node, 1 + inserts, len(parts))
        if parts is None or index is None:
            return None
        return [*parts[:index], *(given[1:2] if inserts else ()), *parts[index + (not inserts) :]]

    def _map(self, node: ir.Node) -> None:
        """Write the body out for each element; inputs that are no sequences are those of all."""
        given = [value for value in node.inputs if value is not None]
        for value in given:
            if value not in self._held and isinstance(value.type, ir.SequenceType):
                return
        if not given or given[0] not in self._held:
            return
        rows = []
        for index in range(len(self._held[given[0]])):
            elements = [self._held[v][index] if v in self._held else v for v in given]
            rows.append(self._applied(node, node.attributes["body"].as_graph(), elements))
        for place, output in enumerate(node.outputs):
            self._held[output] = [row[place] for row in rows]

    def _applied(
        self, node: ir.Node, body: ir.Graph, elements: Sequence[ir.Value]
    ) -> list[ir.Value]:
        """The results of a body for these inputs, written out before the node."""
        copy = body.clone(allow_outer_scope_values=True)
        for value, element in zip(copy.inputs, elements, strict=True):
            value.replace_all_uses_with(element, replace_graph_outputs=True)
        outputs = list(copy.outputs)
        copy.outputs.clear()
        for value in list(copy.initializers.values()):
            del copy.initializers[value.name or ""]
            value.name = self._editor.free_name(f"{node.name}_{value.name}")
            self._editor.graph.register_initializer(value)
        for inner in list(copy):
            copy.remove(inner)
            for value in inner.outputs:
                value.name = self._editor.free_name(f"{node.name}_{value.name}")
            self._insert(node, inner)
        return outputs

    def _split(self, node: ir.Node) -> list[ir.Value] | None:
        x = node.inputs[0]
        if x is None or x.shape is None:
            return None
        axis = node.attributes.get_int("axis", 0) % len(x.shape)
        size = x.shape[axis]
        stated = node.inputs[1] if len(node.inputs) > 1 else None
        known = np.int64(1) if stated is None else known_array(stated)
        if not isinstance(size, int) or known is None:
            return None
        if np.ndim(known):
            lengths = [int(length) for length in known]
        else:
            most = int(known)
            lengths = [min(most, size - start) for start in range(0, size, most)]
        keeps = stated is not None or bool(node.attributes.get_int("keepdims", 1))
        parts = self._parts(node, x, axis, lengths)
        return parts if keeps else [self._squeezed(node, part, axis) for part in parts]

    def _parts(
        self, node: ir.Node, x: ir.Value, axis: int, lengths: Sequence[int]
    ) -> list[ir.Value]:
        assert x.shape is not None
        sizes = self._editor.constant(f"{node.name}_lengths", np.array(lengths, np.int64))
        split = ir.node("Split", [x, sizes], {"axis": axis}, num_outputs=len(lengths))
        for value, length in zip(split.outputs, lengths, strict=True):
            value.name = self._editor.free_name(f"{node.outputs[0].name}_part")
            shape = [length if i == axis else dim for i, dim in enumerate(x.shape)]
            describe(value, x, shape=shape)
        self._insert(node, split)
        return list(split.outputs)

    def _squeezed(self, node: ir.Node, part: ir.Value, axis: int) -> ir.Value:
        assert part.shape is not None
        axes = self._editor.constant(f"{part.name}_axis", np.array([axis], np.int64))
        squeeze = ir.node("Squeeze", [part, axes])
        squeeze.outputs[0].name = self._editor.free_name(f"{part.name}_squeezed")
        describe(squeeze.outputs[0], part, shape=[*part.shape[:axis], *part.shape[axis + 1 :]])
        self._insert(node, squeeze)
        return squeeze.outputs[0]

    def _read(self, node: ir.Node) -> None:
        source = node.inputs[0]
        parts = None if source is None else self._held.get(source)
        if parts is None:
            return
        if node.op_type == "SequenceLength":
            new = self._editor.constant(f"{node.name}_length", np.array(len(parts), np.int64))
        elif node.op_type == "SequenceAt":
            index = _position(node, 1, len(parts))
            if index is None or index >= len(parts):
                return
            new = parts[index]
        else:
            new = self._joined(node, parts)
        result = node.outputs[0]
        if result.is_graph_output():
            identity = ir.node("Identity", [new])
            describe(identity.outputs[0], new)
            self._insert(node, identity)
            new = identity.outputs[0]
        graph = self._editor.graph
        result.replace_all_uses_with(new, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        if new.producer() is not None and new.is_graph_output():
            new.name = result.name

    def _joined(self, node: ir.Node, parts: Sequence[ir.Value]) -> ir.Value:
        axis = node.attributes.get_int("axis", 0)
        joined = list(parts)
        if node.attributes.get_int("new_axis", 0):
            axes = self._editor.constant(f"{node.name}_axis", np.array([axis], np.int64))
            joined = []
            for part in parts:
                widened = ir.node("Unsqueeze", [part, axes])
                widened.outputs[0].name = self._editor.free_name(f"{part.name}_row")
                widened.outputs[0].type = part.type
                self._insert(node, widened)
                joined.append(widened.outputs[0])
        concat = ir.node("Concat", joined, {"axis": axis})
        concat.outputs[0].name = self._editor.free_name(f"{node.outputs[0].name}_joined")
        concat.outputs[0].type = parts[0].type
        self._insert(node, concat)
        return concat.outputs[0]

    def _insert(self, before: ir.Node, node: ir.Node) -> None:
        node.name = self._editor.free_name(f"{before.name}_{node.op_type.lower()}")
        self._editor.graph.insert_before(before, node)


def _position(node: ir.Node, index: int, length: int) -> int | None:
    """A position in a sequence, counted from its start; None where it is not known or not there.

    Args:
        node: What reads or changes the sequence.
        index: The input that states the position; left out, it is the end.
        length: The length of the sequence.
    """
    value = node.inputs[index] if index < len(node.inputs) else None
    inserts = node.op_type == "SequenceInsert"
    if value is None:
        return length if inserts else length - 1
    known = known_array(value)
    if known is None:
        return None
    position = int(known.item())
    position += length if position < 0 else 0
    return position if 0 <= position < length + inserts else None
