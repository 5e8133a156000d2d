"""A graph cut into the layers that a person would name, each quantized or not as a whole."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.operators import OPERATORS, Kind
from edgeconv.export.quantize.plan import data_inputs, is_accumulator, is_constant, plan


@dataclass(frozen=True)
class Unit:
    """A node with the clamp that is fused into it; both by their names in the graph."""

    node: ir.Node
    members: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str

    @property
    def operator(self) -> str:
        return self.node.op_type


def name_nodes(model: ir.Model) -> None:
    """Give every node a name of its own; one that is unique stays."""
    taken: set[str] = set()
    for node in model.graph:
        name = node.name or f"{node.op_type}_{node.outputs[0].name}"
        while name in taken:
            name += "_"
        node.name = name
        taken.add(name)


def find_units(draft: CalibratedModel) -> list[Unit]:
    """The layers in the graph's order. What only moves values is none of its own: its rounding is
    its neighbors'; a concatenation is, because its inputs have to share one scale.
    """
    decisions = plan(draft.model.graph, draft.options.keep_float)
    units = []
    for node in draft.model.graph:
        if node in decisions.float_fallback:
            continue
        kind = OPERATORS[node.op_type].kind
        if kind is Kind.SAME and node.op_type != "Concat":
            continue
        if kind is Kind.CLAMP and node.inputs[0] and is_accumulator(node.inputs[0]):
            continue  # it belongs to the node before
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
    """The QDQ graph in which every other layer is in float."""
    others = {str(node.name) for node in draft.model.graph} - set(unit.members)
    options = replace(draft.options, keep_float=frozenset(others))
    return replace(draft, options=options).to_qdq()[0]


def integer_values(model: ir.Model, names: list[str]) -> dict[str, str]:
    """Of each named activation of a float graph: the value of the QDQ graph that stands for it
    after its rounding.
    """
    rounded = {}
    for node in model.graph:
        if node.op_type == "DequantizeLinear" and node.name:
            rounded[node.name.rstrip("_")] = str(node.outputs[0].name)
    return {name: rounded[f"{name}_dequantized".rstrip("_")] for name in names}
