"""A Relu or Clip behind a Concat moves in front of it, into the operators that compute its inputs.

There a runtime applies it for nothing; behind the Concat it is a pass over the data, and in int8
a change of scale. It is done where every input of the Concat comes from an operator that can apply
it and is used nowhere else.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, clamp_bounds, describe, only_consumer
from edgeconv.export.passes.steps import NodePass

FUSING = {"Conv", "ConvTranspose", "Gemm", "Add", "Sub", "Mul"}


class ClampBeforeConcat(NodePass):
    """``Relu(Concat(a, b, …))`` → ``Concat(Relu(a), Relu(b), …)``.

    A Clip with constant bounds moves in the same way.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to a clamp that can move into what computes the parts."""
        return clamp_bounds(node) is not None and _reads_fusing_parts(node)

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Move the clamp."""
        _move(editor, node)


def _reads_fusing_parts(node: ir.Node) -> bool:
    x = node.inputs[0]
    concat = None if x is None else x.producer()
    if x is None or concat is None or concat.op_type != "Concat" or only_consumer(x) is None:
        return False
    return all(
        value is not None
        and (producer := value.producer()) is not None
        and producer.op_type in FUSING
        and only_consumer(value) is not None
        for value in concat.inputs
    )


def _move(editor: GraphEditor, clamp: ir.Node) -> None:
    x = clamp.inputs[0]
    concat = None if x is None else x.producer()
    assert x is not None
    assert concat is not None
    for index, value in enumerate(concat.inputs):
        assert value is not None
        name = f"{clamp.name}_{index}"
        node = ir.node(clamp.op_type, [value, *clamp.inputs[1:]], name=name)
        result = node.outputs[0]
        result.name = editor.free_name(f"{clamp.outputs[0].name}_{index}")
        describe(result, value)
        editor.graph.insert_before(concat, node)
        concat.replace_input_with(index, result)
    ir.convenience.replace_nodes_and_values(
        editor.graph, clamp, [clamp], [], [clamp.outputs[0]], [x]
    )
