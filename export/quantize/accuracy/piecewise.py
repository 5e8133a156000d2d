"""Run a graph over samples piece by piece, so that what comes later in it can still be changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.activation_memory import Step, peak_bytes
from edgeconv.export.data.samples import Batch
from edgeconv.export.runtimes import IntermediateOutputs

Array = npt.NDArray[Any]


class Piecewise:
    """What a graph computes for samples, each operator once.

    Of the values that were computed only those are kept that operators still to come read.

    Args:
        graph: The graph; of its values, only the names count.
        samples: For each sample, one array per input of the graph.
    """

    def __init__(self, graph: ir.Graph, samples: Sequence[Batch]) -> None:
        self._known: dict[str, list[Array]] = {
            str(value.name): [sample[index] for sample in samples]
            for index, value in enumerate(graph.inputs)
        }
        self._done: set[str] = set()

    def compute(self, model: ir.Model, name: str) -> list[Array]:
        """Compute a float value for each sample.

        Args:
            model: The graph as it is by now. What has run already does not run again.
            name: The value.

        Raises:
            EdgeconvError: ONNX Runtime refuses the graph, or an operator fails.
        """
        value = ir.convenience.create_value_mapping(model.graph)[name]
        if name not in self._known:
            self._run(model, value)
        found = self._known[name]
        self._forget(model.graph)
        return found

    def _run(self, model: ir.Model, target: ir.Value) -> None:
        """Run what ``target`` still needs, and keep what the rest of the graph reads of it."""
        nodes, inputs = self._missing(target)
        inside = {id(node) for node in nodes}
        outputs = [target] + [
            value
            for node in nodes
            for value in node.outputs
            if value is not target and any(id(user) not in inside for user in value.consumers())
        ]
        part = ir.convenience.extract(model.graph, inputs, outputs)
        names = [str(value.name) for value in outputs]
        running = IntermediateOutputs(ir.Model(part, ir_version=model.ir_version), names)
        given = zip(*(self._known[str(value.name)] for value in inputs), strict=True)
        computed = list(running.run_each(given))
        for index, name in enumerate(names):
            self._known[name] = [arrays[index] for arrays in computed]
        self._done |= {str(value.name) for node in nodes for value in node.outputs}

    def _missing(self, target: ir.Value) -> tuple[list[ir.Node], list[ir.Value]]:
        """The operators to run for ``target``, and the known values that they read."""
        nodes: dict[int, ir.Node] = {}
        inputs: dict[str, ir.Value] = {}
        wanted = [target]
        while wanted:
            value = wanted.pop()
            node = value.producer()
            if str(value.name) in self._known:
                inputs[str(value.name)] = value
            elif node is not None and id(node) not in nodes:
                nodes[id(node)] = node
                wanted += _read_by(node)
        return list(nodes.values()), list(inputs.values())

    def _forget(self, graph: ir.Graph) -> None:
        """Let go of values that only operators read which have run."""
        values = ir.convenience.create_value_mapping(graph)
        for name in list(self._known):
            users = values[name].consumers()
            if all(str(user.outputs[0].name) in self._done for user in users):
                del self._known[name]


def most_bytes(graph: ir.Graph) -> int:
    """The most bytes that the values of one run take at a time, where shapes are static."""
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    sizes = {value: _bytes(value) for value in values}
    steps = [
        Step(tuple(value for value in node.inputs if value is not None), tuple(node.outputs))
        for node in graph
    ]
    return peak_bytes(steps, sizes, (), ())


def _bytes(value: ir.Value) -> int:
    shape = value.shape
    return 4 * math.prod(size for size in shape if isinstance(size, int)) if shape else 4


def _read_by(node: ir.Node) -> Iterator[ir.Value]:
    """The values that an operator reads, in its bodies too."""
    graph = node.graph
    within = [
        each
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.GRAPH
        for each in ir.traversal.RecursiveGraphIterator(attribute.as_graph())
    ]
    for each in (node, *within):
        for value in each.inputs:
            if value is not None and value.graph is graph:
                yield value
