"""A Relu or Clip behind a Concat moves in front of it, into the operators that compute its inputs.

There a runtime applies it for nothing; behind the Concat it is a pass over the data, and in int8
a change of scale. It is done where every input of the Concat comes from an operator that can apply
it and is used nowhere else.
"""

from __future__ import annotations

import onnx_ir as ir

CLAMPS = {"Relu", "Clip"}
FUSING = {"Conv", "ConvTranspose", "Gemm", "Add", "Sub", "Mul"}


class ClampBeforeConcat(ir.passes.InPlacePass):
    """``Relu(Concat(a, b, …))`` → ``Concat(Relu(a), Relu(b), …)``; the same of Clip with constant
    bounds.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        changed = False
        for node in list(model.graph):
            if node.op_type in CLAMPS and node.domain == "" and _applies(node):
                _move(model.graph, node)
                changed = True
        return ir.passes.PassResult(model, modified=changed)


def _applies(node: ir.Node) -> bool:
    x = node.inputs[0]
    concat = None if x is None else x.producer()
    if x is None or concat is None or concat.op_type != "Concat" or not _used_once(x):
        return False
    if any(bound is not None and bound.const_value is None for bound in node.inputs[1:]):
        return False
    return all(
        value is not None
        and (producer := value.producer()) is not None
        and producer.op_type in FUSING
        and _used_once(value)
        for value in concat.inputs
    )


def _used_once(value: ir.Value) -> bool:
    return not value.is_graph_output() and len(value.uses()) == 1


def _move(graph: ir.Graph, clamp: ir.Node) -> None:
    x = clamp.inputs[0]
    concat = None if x is None else x.producer()
    assert x is not None
    assert concat is not None
    for index, value in enumerate(concat.inputs):
        assert value is not None
        name = f"{clamp.name}_{index}"
        node = ir.node(clamp.op_type, [value, *clamp.inputs[1:]], name=name)
        result = node.outputs[0]
        result.name = f"{clamp.outputs[0].name}_{index}"
        result.shape, result.type = value.shape, value.type
        graph.insert_before(concat, node)
        concat.replace_input_with(index, result)
    ir.convenience.replace_nodes_and_values(graph, clamp, [clamp], [], [clamp.outputs[0]], [x])
