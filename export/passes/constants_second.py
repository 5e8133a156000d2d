"""The constant of a sum or product stands second, so that no rewrite has to look on both sides."""

from __future__ import annotations

import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.passes.steps import NodePass
from edgeconv.export.traits import Trait, operators

COMMUTATIVE = operators(Trait.COMMUTES)


class ConstantsSecond(NodePass):
    """``Add(c, x)`` → ``Add(x, c)``, and the same of Mul, Max and Min, for constant c."""

    def applies(self, node: ir.Node) -> bool:
        """Apply where the constant stands first."""
        if node.op_type not in COMMUTATIVE or node.domain != "" or len(node.inputs) != 2:
            return False
        return _is_constant(node.inputs[0]) and not _is_constant(node.inputs[1])

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Swap the operands."""
        first, second = node.inputs
        node.replace_input_with(0, second)
        node.replace_input_with(1, first)


def _is_constant(value: ir.Value | None) -> bool:
    return value is not None and ir.convenience.get_const_tensor(value) is not None
