"""A Sum of several values becomes Adds.

Add has integer kernels in both runtimes, and Sum has none. Each sum on the way gets a range of its
own in calibration.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.passes.steps import NodePass


class SumToAdd(NodePass):
    """``Sum(a, b, c)`` → ``Add(Add(a, b), c)``; ``Sum(a)`` → ``Identity(a)``."""

    def applies(self, node: ir.Node) -> bool:
        """Apply to every Sum."""
        return node.op_type == "Sum" and node.domain == ""

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Write the Adds."""
        _replace(editor, node)


def _replace(editor: GraphEditor, node: ir.Node) -> None:
    first, *rest = (value for value in node.inputs if value is not None)
    out = node.outputs[0]
    nodes = [] if rest else [ir.node("Identity", [first], name=node.name)]
    total = first
    for index, value in enumerate(rest):
        last = index == len(rest) - 1
        add = ir.node("Add", [total, value], name=node.name if last else f"{node.name}_{index}")
        add.outputs[0].name = None if last else editor.free_name(f"{out.name}_{index}")
        add.outputs[0].shape, add.outputs[0].type = _broadcast(total, value), first.type
        nodes.append(add)
        total = add.outputs[0]
    ir.convenience.replace_nodes_and_values(
        editor.graph, node, [node], nodes, [out], [nodes[-1].outputs[0]]
    )


def _broadcast(first: ir.Value, second: ir.Value) -> ir.Shape | None:
    """The shape of a sum, where both are known."""
    shapes = [value.shape for value in (first, second)]
    known = [shape.numpy() for shape in shapes if shape is not None and shape.is_static()]
    return ir.Shape(np.broadcast_shapes(*known)) if len(known) == 2 else None
