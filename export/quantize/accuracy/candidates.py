"""The versions of an int8 network that have some of its operators in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgeconv.export.quantize.accuracy.sensitivity import in_float, keeping
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.integer_forms import fused_output
from edgeconv.export.quantize.plan import plan

Names = frozenset[str]


@dataclass(frozen=True)
class Unit:
    """An operator with the clamps that are fused with it.

    Attributes:
        result: The name of its result.
        nodes: The names of its nodes.
    """

    result: str
    nodes: Names


class Candidates:
    """Makes the versions.

    Args:
        current: The network.
        uncorrected: Its float graph without bias correction, which would be an error in float.

    Attributes:
        units: The operators in int8, in their order.
        free: Those among them that may be in float.
    """

    def __init__(self, current: CalibratedModel, uncorrected: ir.Model) -> None:
        self._current, self._uncorrected = current, uncorrected
        self.units = _units(current)
        fixed = interface(current.model.graph) if current.options.integer_outputs else set()
        self.free = [unit for unit in self.units if not unit.nodes & fixed]

    def with_float(self, outside: Sequence[Unit]) -> CalibratedModel:
        """The network with operators in float."""
        return in_float(self._current, self._uncorrected, _nodes(outside))

    def qdq(self, outside: Sequence[Unit]) -> ir.Model:
        """The same as a QDQ graph."""
        return self.with_float(outside).to_qdq()[0]

    def have_integers(self, outside: Sequence[Unit]) -> bool:
        """Whether anything is in int8 with operators in float: else the network is float32."""
        kept = keeping(self._current, _nodes(outside))
        return bool(plan(kept.model.graph, kept.options).activations)


def interface(graph: ir.Graph) -> set[str]:
    """The nodes that read inputs or write outputs of the network."""
    return {
        str(node.name)
        for node in graph
        if any(value is not None and value.is_graph_input() for value in node.inputs)
        or any(fused_output(value).is_graph_output() for value in node.outputs)
    }


def _units(current: CalibratedModel) -> list[Unit]:
    graph = current.model.graph
    decisions = plan(graph, current.options)
    found: dict[ir.Value, list[str]] = {}
    for node in graph:
        if node not in decisions.float_fallback:
            result = fused_output(node.outputs[0])
            # It comes where its last node is.
            found[result] = [*found.pop(result, []), str(node.name)]
    return [Unit(str(result.name), frozenset(names)) for result, names in found.items()]


def _nodes(units: Sequence[Unit]) -> Names:
    return frozenset().union(*(unit.nodes for unit in units))
