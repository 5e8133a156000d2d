"""What a graph computes from constants alone, so that it is the same in every run."""

from __future__ import annotations

import onnx_ir as ir

RANDOM = {
    *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"),
    *("RandomUniform", "RandomUniformLike"),
}

_BODIES = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def known_nodes(graph: ir.Graph) -> set[ir.Node]:
    """The nodes whose inputs are constants or results of other such nodes.

    The Shape of a value is a constant where it is static. A node that draws random numbers is not
    among them, nor one with a body, which may read anything.
    """
    known: set[ir.Node] = set()
    for node in graph:
        has_body = any(attribute.type in _BODIES for attribute in node.attributes.values())
        if has_body or node.op_type in RANDOM:
            continue
        inputs = [value for value in node.inputs if value is not None]
        if _is_static_shape(node, inputs) or (
            inputs and all(_is_known(value, known) for value in inputs)
        ):
            known.add(node)
    return known


def _is_static_shape(node: ir.Node, inputs: list[ir.Value]) -> bool:
    shape = inputs[0].shape if node.op_type == "Shape" and inputs else None
    return shape is not None and shape.is_static()


def _is_known(value: ir.Value, known: set[ir.Node]) -> bool:
    if value.is_graph_input():
        return False  # an initializer among the inputs is only the default of one
    return ir.convenience.get_const_tensor(value) is not None or value.producer() in known
