"""Make each part of a concatenated output an output by itself.

A file with integer outputs has one scale per output, which boxes in pixels and scores cannot share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.errors import UsageError
from edgeconv.export.graph_edit import GraphEditor, constant_array, describe
from edgeconv.export.joined import Joins, Parts, is_elementwise, parts_of, trace
from edgeconv.export.output_head import OutputHead

Array = npt.NDArray[Any]
Box = tuple[slice, ...]
T = TypeVar("T")

_SAME_ATTRIBUTES = {"Transpose", "Squeeze", "Unsqueeze", "Identity", "Dropout"}
_RESHAPES = {"Reshape", "Flatten"}


@dataclass(frozen=True)
class Splits:
    """What becomes of the outputs of the network itself in its files.

    Attributes:
        boxes: Where the parts of each former output were; None for one that stayed whole.
        head: What is then made of the scores of classes, if anything.
    """

    boxes: tuple[tuple[Box, ...] | None, ...]
    head: OutputHead | None = None

    @classmethod
    def none(cls, model: ir.Model) -> Splits:
        """Every output stays whole."""
        return cls((None,) * len(model.graph.outputs))

    def behind(self, network: Callable[[T], Sequence[Array]]) -> Callable[[T], list[Array]]:
        """``network`` with the outputs of its files."""
        return lambda sample: self.apply(network(sample))

    def for_every_batch(self, batch: int) -> Splits:
        """The same, where a part has all samples of this batch, for any number of samples."""
        boxes = tuple(
            None if boxes is None else tuple(_all_samples(box, batch) for box in boxes)
            for boxes in self.boxes
        )
        return replace(self, boxes=boxes)

    def apply(self, outputs: Sequence[Array]) -> list[Array]:
        """Make of what the network itself computes what its files give."""
        found: list[Array] = []
        for array, boxes in zip(outputs, self.boxes, strict=True):
            found += [array] if boxes is None else [array[box] for box in boxes]
        return found if self.head is None else self.head.apply(found[0])


def _all_samples(box: Box, batch: int) -> Box:
    return (slice(None), *box[1:]) if box[:1] == (slice(0, batch),) else box


def split_outputs(model: ir.Model) -> Splits:
    """Replace each joined output by one output for each part, ``NAME_0``, ``NAME_1``, and so on.

    Raises:
        UsageError: No output is a concatenation whose parts can be separated.
    """
    graph, opset = model.graph, model.graph.opset_imports[""]
    splitter = _Splitter(GraphEditor(graph), opset)
    outputs: list[ir.Value] = []
    boxes: list[tuple[Box, ...] | None] = []
    for output in list(graph.outputs):
        found = splitter.split(output)
        outputs += [value for value, _ in found] if found else [output]
        boxes.append(tuple(box for _, box in found) if found else None)
    if not any(boxes):
        raise UsageError(
            "no output is a concatenation that can be split", hint="leave --split-outputs out"
        )
    graph.outputs[:] = outputs
    common.RemoveUnusedNodesPass()(model)
    return Splits(tuple(boxes))


class _Splitter:
    def __init__(self, editor: GraphEditor, opset: int) -> None:
        self._editor, self._opset = editor, opset
        self._leaves: set[ir.Value] = set()

    def split(self, output: ir.Value) -> list[tuple[ir.Value, Box]]:
        """The parts as values, in their order, with their places; none if it stays whole."""
        if parts_of(output, self._opset) is None:
            return []
        self._leaves = set(trace(output, self._opset)[1])
        places = self._places(output)
        branches = self._branches(output) if places else None
        if branches is None or len(branches) != len(places):
            return []
        found = []
        for index, (leaf, value) in enumerate(branches):
            found.append((self._named(value, f"{output.name}_{index}"), places[leaf]))
        return found

    def _named(self, value: ir.Value, name: str) -> ir.Value:
        """``value`` under another name; a copy of what has to keep its own."""
        name = self._editor.free_name(name)
        producer = value.producer()
        if producer is None or value.is_graph_output():
            producer = ir.node("Identity", [value], name=name)
            describe(producer.outputs[0], value)
            self._editor.graph.append(producer)
            value = producer.outputs[0]
        value.name = name
        return value

    def _branches(self, value: ir.Value) -> list[tuple[str, ir.Value]] | None:
        """The parts of ``value``, each with the name that it had before the concatenation."""
        if value in self._leaves:
            return [(str(value.name), value)]
        node = value.producer()
        assert node is not None
        found: list[tuple[str, ir.Value]] = []
        if node.op_type == "Concat":
            for part in node.inputs:
                assert part is not None
                branches = self._branches(part)
                if branches is None:
                    return None
                found += branches
            return found
        if len(Joins(self._opset).sources(node)) > 1:
            return None
        places, source = self._places(value), node.inputs[0]
        branches = self._branches(source) if source is not None and places else None
        if branches is None:
            return None
        for leaf, branch in branches:
            copied = self._copy(node, branch, places[leaf])
            if copied is None:
                return None
            found.append((leaf, copied))
        return found

    def _copy(self, node: ir.Node, branch: ir.Value, box: Box) -> ir.Value | None:
        """What ``node`` makes of a part, whose place in the result is ``box``."""
        result, editor = node.outputs[0], self._editor
        assert result.shape is not None
        shape = [part.stop - part.start for part in box]
        name = editor.free_name(f"{node.name}_part")
        rest: list[ir.Value | None] = list(node.inputs[1:])
        op_type, attributes = node.op_type, dict(node.attributes)
        if op_type in _RESHAPES:
            op_type, attributes = "Reshape", {}
            rest = [editor.constant(f"{name}_shape", np.array(shape, np.int64))]
        elif is_elementwise(node):
            whole = result.shape.numpy()
            for index, value in enumerate(rest):
                array = None if value is None else constant_array(value)
                if array is not None and array.size > 1:
                    piece = np.broadcast_to(array, whole)[box]
                    rest[index] = editor.constant(f"{name}_constant", piece)
        elif op_type not in _SAME_ATTRIBUTES:
            return None
        copied = ir.node(op_type, [branch, *rest], attributes=attributes, name=name)
        copied.outputs[0].name = name
        describe(copied.outputs[0], result, shape=shape)
        editor.graph.insert_after(node, copied)
        return copied.outputs[0]

    def _places(self, value: ir.Value) -> dict[str, Box]:
        """The place of each part in ``value``; none unless each is a box of its own."""
        parts = parts_of(value, self._opset)
        boxes = {} if parts is None else _boxes(parts)
        return boxes


def _boxes(parts: Parts) -> dict[str, Box]:
    found: dict[str, Box] = {}
    for index, name in enumerate(parts.names):
        where = np.nonzero(parts.labels == index)
        box = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in where)
        if parts.labels[box].size != len(where[0]):
            return {}
        found[name] = box
    return found
