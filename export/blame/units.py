"""Divide a graph into layers as a person sees them, each quantized as a whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.integer_forms import data_inputs, is_accumulator, is_constant
from edgeconv.export.quantize.operators import OPERATORS, Kind, kind_of
from edgeconv.export.quantize.plan import plan


@dataclass(frozen=True)
class Unit:
    """A node of the float graph, with the clamp that is fused into it.

    Attributes:
        node: The node.
        members: The names of the node and of the clamp, if there is one.
        inputs: The names of the activations that it reads.
        output: The name of the activation that comes out of it.
    """

    node: ir.Node
    members: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str

    @property
    def operator(self) -> str:
        """The ONNX operator of the node."""
        return self.node.op_type


def find_units(draft: CalibratedModel) -> list[Unit]:
    """Find the layers, in the order of the graph.

    Operators that only move values are not layers, because they share the rounding of their
    neighbors. A concatenation is one, because its inputs must share one scale.
    """
    decisions = plan(draft.model.graph, draft.options)
    units = []
    for node in draft.model.graph:
        if node in decisions.float_fallback:
            continue
        kind = kind_of(node)
        if kind is Kind.SAME and node.op_type != "Concat":
            continue
        if kind is Kind.CLAMP and node.inputs[0] and is_accumulator(node.inputs[0]):
            continue  # it is fused into the node before
        units.append(_unit(node))
    return units


def _unit(node: ir.Node) -> Unit:
    members, output = [str(node.name)], node.outputs[0]
    if is_accumulator(output):
        clamp = output.consumers()[0]
        members.append(str(clamp.name))
        output = clamp.outputs[0]
    inputs = [v for v in data_inputs(node, OPERATORS[node.op_type]) if not is_constant(v)]
    return Unit(
        node,
        tuple(members),
        tuple(dict.fromkeys(str(value.name) for value in inputs)),
        str(output.name),
    )


def only(draft: CalibratedModel, unit: Unit) -> ir.Model:
    """Make the QDQ graph in which all other layers are in float."""
    others = {str(node.name) for node in draft.model.graph} - set(unit.members)
    options = replace(draft.options, keep_float=frozenset(others))
    return replace(draft, options=options).to_qdq()[0]


def integer_values(model: ir.Model, names: list[str]) -> dict[str, str]:
    """Find the dequantized values of a QDQ graph, by the name of the activation in the float graph.

    Args:
        model: The QDQ graph.
        names: Activations of the float graph that are quantized in it.
    """
    rounded = {}
    for node in model.graph:
        if node.op_type == "DequantizeLinear" and node.name:
            rounded[node.name.rstrip("_")] = str(node.outputs[0].name)
    return {name: rounded[f"{name}_dequantized".rstrip("_")] for name in names}
