"""Find where channels of activations can be rescaled or shifted without changing the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, clamp_bounds
from edgeconv.export.quantize.integer_forms import fused_output
from edgeconv.export.quantize.layers import Layer, constant, is_weighted
from edgeconv.export.traits import Trait, operators

_HOMOGENEOUS = operators(Trait.HOMOGENEOUS)
_SUMS = {"Add", "Sub"}


@dataclass(frozen=True)
class Segment:
    """Layers, and the layers that read their channels, with homogeneous operators in between.

    One layer makes the channels, or several whose results a residual sum adds up.

    Attributes:
        producers: The layers that make the channels.
        consumers: The layers that read them.
        values: What the producers, sums and products give, as far as it may be quantized,
            [N, C, …]. The first is that of the first producer.
        between: The operators from the producers to the consumers.
        bound: The upper bound of a Clip (ReLU6) among them; infinity without one.
        gated: The product of each of the values that nothing but a gate reads.
    """

    producers: tuple[Layer, ...]
    consumers: tuple[Layer, ...]
    values: tuple[ir.Value, ...]
    between: tuple[ir.Node, ...]
    bound: float
    gated: Mapping[ir.Value, ir.Value]

    @property
    def carriers(self) -> frozenset[str]:
        """The names of the activations that have these channels."""
        nodes = (*(producer.node for producer in self.producers), *self.between)
        return frozenset(str(node.outputs[0].name) for node in nodes)


def find_segments(graph: ir.Graph) -> list[Segment]:
    """Find all segments, in the order of the graph.

    There is none where a function that is not homogeneous, a concatenation or a graph output reads
    the channels, because those would see them changed. A gate multiplies them and stays as it is.
    """
    segments, editor, seen = [], GraphEditor(graph), set[ir.Node]()
    for node in graph:
        if node not in seen and _makes_channels(node):
            flood = _Flood(editor)
            found = flood.from_(node)
            seen |= {producer.node for producer in flood.producers}
            if found is not None:
                segments.append(found)
    return segments


class _Flood:
    """Collects what channels reach that are scaled together."""

    def __init__(self, editor: GraphEditor) -> None:
        self._editor = editor
        self.producers: list[Layer] = []
        self._consumers: list[Layer] = []
        self._between: list[ir.Node] = []
        self._gates: list[ir.Value] = []
        self._gated: dict[ir.Value, ir.Value] = {}
        self._bound = np.inf
        self._stretched = False

    def from_(self, producer: ir.Node) -> Segment | None:
        """The segment that a layer makes channels of; None if they cannot be rescaled."""
        pending, seen = [producer.outputs[0]], set[ir.Value]()
        while pending:
            value = pending.pop()
            if value in seen:
                continue
            seen.add(value)
            node = value.producer()
            if node is None or value.is_graph_output() or not value.uses():
                return None
            if _makes_channels(node):
                self.producers.append(Layer(self._editor, node))
            elif (carried := self._through(node)) is not None:
                pending += carried
            else:
                return None
            for reader, index in value.uses():
                if is_weighted(reader) and index == 0 and _reads_channels(reader, value):
                    self._consumers.append(Layer(self._editor, reader))
                elif (carried := self._through(reader)) is not None and value in carried:
                    pending.append(reader.outputs[0])
                else:
                    return None
        if not self._consumers or any(gate in seen for gate in self._gates):
            return None
        if self._bound < np.inf and self._stretched:
            return None
        return Segment(
            tuple(self.producers),
            tuple(self._consumers),
            tuple(dict.fromkeys(self._values())),
            tuple(self._between),
            self._bound,
            self._gated,
        )

    def _through(self, node: ir.Node) -> list[ir.Value] | None:
        """The inputs whose channels an operator passes on; None if it changes or mixes them."""
        if node.domain != "":
            return None
        inputs = [value for value in node.inputs if value is not None]
        if node.op_type in _HOMOGENEOUS and _keeps_channels(node):
            if node.op_type == "Clip":
                low, high = clamp_bounds(node) or (np.nan, np.nan)
                if low not in (0.0, -np.inf) or not high > 0:
                    return None
                self._bound = min(self._bound, high)
            self._stretched |= _steepest(node) > 1
            carried = inputs[:1]
        elif node.op_type in _SUMS and all(_is_aligned(node, value) for value in inputs):
            carried = inputs
        elif node.op_type == "Mul" and (one := _multiplied(node)) is not None:
            carried = [one]
            place = inputs.index(one)  # a square is its own gate
            self._gates += [*inputs[:place], *inputs[place + 1 :]]
            if len(one.uses()) == 1:
                self._gated[one] = fused_output(node.outputs[0])
        else:
            return None
        if node not in self._between:
            self._between.append(node)
        return carried

    def _values(self) -> Iterator[ir.Value]:
        nodes = [producer.node for producer in self.producers]
        nodes += [node for node in self._between if node.op_type in {*_SUMS, "Mul"}]
        return (fused_output(node.outputs[0]) for node in nodes)


def _makes_channels(node: ir.Node) -> bool:
    """Whether dimension 1 of the result is the output channel of ``node``."""
    return is_weighted(node) and node.op_type != "MatMul"


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
    x = node.inputs[0]
    return x is not None and _has_channels_of(node, x)


def _steepest(node: ir.Node) -> float:
    """By how much a homogeneous operator at most enlarges a magnitude.

    Its result is not observed. Behind more than 1 it may reach the bound of a Clip where what was
    observed does not.
    """
    if node.op_type == "LeakyRelu":
        return abs(node.attributes.get_float("alpha", 0.01))
    if node.op_type == "PRelu":
        return float(np.abs(constant(node, 1)).max(initial=0.0))
    return 1.0


def _has_channels_of(node: ir.Node, value: ir.Value) -> bool:
    """Whether an input that the network computes has the batch and channels of the result."""
    result = node.outputs[0]
    if value.const_value is not None or value.shape is None or result.shape is None:
        return False
    return list(value.shape)[:2] == list(result.shape)[:2]


def _is_aligned(node: ir.Node, value: ir.Value) -> bool:
    """Whether the channels of an operand meet those of the result.

    An operand of fewer dimensions is aligned at the last one.
    """
    same_rank = len(value.shape or ()) == len(node.outputs[0].shape or ())
    return same_rank and _has_channels_of(node, value)


def _multiplied(node: ir.Node) -> ir.Value | None:
    """The factor of a Mul whose channels are those of the result; the other one is its gate."""
    for value in node.inputs:
        if value is None or not _is_aligned(node, value):
            continue
        producer = value.producer()
        if producer is None:
            continue
        if _makes_channels(producer) or producer.op_type in _HOMOGENEOUS | _SUMS | {"Mul"}:
            return value
    return None
