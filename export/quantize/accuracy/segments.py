"""Find where channels of an activation can be rescaled or shifted without changing the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, clamp_bounds
from edgeconv.export.quantize.integer_forms import fused_output
from edgeconv.export.quantize.layers import Layer, is_weighted
from edgeconv.export.traits import Trait, operators

_HOMOGENEOUS = operators(Trait.HOMOGENEOUS)


@dataclass(frozen=True)
class Segment:
    """A layer, and the layers that read its channels, with homogeneous operators in between.

    Attributes:
        producer: The layer that makes the channels.
        consumers: The layers that read them.
        value: The first activation after the producer that is quantized, [N, C, …].
        between: The operators from the producer to the consumers.
        bound: The upper bound of a Clip (ReLU6) among them; infinity without one.
    """

    producer: Layer
    consumers: tuple[Layer, ...]
    value: ir.Value
    between: tuple[ir.Node, ...]
    bound: float

    @property
    def carriers(self) -> frozenset[str]:
        """The names of the activations that have these channels."""
        return frozenset(str(node.outputs[0].name) for node in (self.producer.node, *self.between))


def find_segments(graph: ir.Graph) -> list[Segment]:
    """Find all segments, in the order of the graph.

    There is none where a residual sum, a gate, a concatenation or a graph output reads the
    channels, because those would see them changed.
    """
    segments, editor = [], GraphEditor(graph)
    for node in graph:
        if is_weighted(node) and node.op_type != "MatMul":
            segment = _segment(editor, node)
            if segment is not None:
                segments.append(segment)
    return segments


def _segment(editor: GraphEditor, producer: ir.Node) -> Segment | None:
    consumers: list[ir.Node] = []
    between: list[ir.Node] = []
    bound = np.inf
    pending = [producer.outputs[0]]
    while pending:
        value = pending.pop()
        if value.is_graph_output() or not value.uses():
            return None
        for node, index in value.uses():
            if index != 0:
                return None
            if is_weighted(node) and _reads_channels(node, value):
                consumers.append(node)
            elif node.op_type in _HOMOGENEOUS and node.domain == "" and _keeps_channels(node):
                if node.op_type == "Clip" and (bounds := clamp_bounds(node)) is not None:
                    low, high = bounds
                    if low not in (0.0, -np.inf):
                        return None
                    bound = min(bound, high)
                between.append(node)
                pending.append(node.outputs[0])
            else:
                return None
    return Segment(
        Layer(editor, producer),
        tuple(Layer(editor, node) for node in consumers),
        fused_output(producer.outputs[0]),
        tuple(between),
        bound,
    )


def _reads_channels(node: ir.Node, value: ir.Value) -> bool:
    """Whether dimension 1 of ``value`` is the input channel of ``node``."""
    if node.op_type == "MatMul":
        ranks = [len(each.shape or ()) for each in (value, node.inputs[1]) if each is not None]
        return ranks == [2, 2]
    if node.op_type == "Gemm":
        return not node.attributes.get_int("transA", 0)
    return True


def _keeps_channels(node: ir.Node) -> bool:
    if len(node.outputs) > 1 and any(output.uses() for output in node.outputs[1:]):
        return False
    if any(value is not None and value.const_value is None for value in node.inputs[1:]):
        return False
    x, y = node.inputs[0], node.outputs[0]
    if x is None or x.shape is None or y.shape is None:
        return False
    return list(x.shape)[:2] == list(y.shape)[:2]
