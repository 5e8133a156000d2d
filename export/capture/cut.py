"""Keep the part of a network that computes some of its values, in place of its outputs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.errors import UsageError
from edgeconv.near_names import did_you_mean

_SHOWN = 5
_BODIES = {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}


def cut(model: ir.Model, names: Sequence[str], network: str) -> None:
    """Make the named values the outputs of ``model``, in their order, and drop what is behind.

    Its inputs stay, those that are not read any more too.

    Args:
        model: The graph.
        names: Names of tensors, or of nodes, which stand for all of their results.
        network: The name of the network, for the messages.

    Raises:
        UsageError: The graph has no value of a name, or does not state its type.
    """
    values = list(dict.fromkeys(value for name in names for value in _named(model, name, network)))
    for value in values:
        if value.dtype is None or value.shape is None:
            raise UsageError(
                f"{network}: the type or the shape of {value.name!r} is not known",
                hint="cut at another tensor, before any operator that is not in the standard",
            )
    model.graph.outputs[:] = values
    common.RemoveUnusedNodesPass()(model)


def _named(model: ir.Model, name: str, network: str) -> list[ir.Value]:
    results = {value.name: value for node in model.graph for value in node.outputs if value.name}
    if name in results:
        return [results[name]]
    nodes = {node.name: node for node in model.graph if node.name}
    if name in nodes:
        return [value for value in nodes[name].outputs if value.name]
    computed = _computed(model)
    places = [node.name for node in nodes.values() if computed.issuperset(node.outputs)]
    results = {name: value for name, value in results.items() if value in computed}
    known = [*results, *places]
    some = ", ".join(map(repr, list(results)[-_SHOWN:]))
    otherwise = f"name one of its {len(known)} nodes and tensors, such as {some}"
    raise UsageError(
        f"{network} has no node or computed tensor {name!r} to cut at",
        hint=did_you_mean(name, map(str, known), otherwise),
    )


def _computed(model: ir.Model) -> set[ir.Value]:
    """The results that depend on the elements of an input; any other is a constant."""
    found = {value for value in model.graph.inputs if value.name not in model.graph.initializers}
    for node in model.graph:
        if node.op_type in ("Shape", "Size"):  # files have fixed shapes
            continue
        has_body = any(item.type in _BODIES for item in node.attributes.values())
        if has_body or not found.isdisjoint(node.inputs):  # a body may read it
            found.update(node.outputs)
    return found
