"""The graphs and nodes of a model as protobuf has it, those of bodies included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph, and the bodies in it."""
    yield graph
    for body in _bodies(graph):
        yield from all_graphs(body)


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the bodies in it."""
    for each in all_graphs(graph):
        yield from each.node


def nodes_within(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, such as those of a function, and those of the bodies in them."""
    for node in nodes:
        yield node
        for body in _bodies_of(node):
            yield from all_nodes(body)


def _bodies(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    for node in graph.node:
        yield from _bodies_of(node)


def _bodies_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    yield from (each.g for each in node.attribute if each.HasField("g"))
