"""The constant of a sum or product stands second, so that no rewrite has to look on both sides."""

from __future__ import annotations

import onnx_ir as ir

from edgeconv.export.traits import Trait, operators


class ConstantsSecond(ir.passes.InPlacePass):
    """``Add(c, x)`` → ``Add(x, c)``, and the same of Mul, Max and Min, for constant c."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        commutative = operators(Trait.COMMUTES)
        changed = False
        for node in model.graph:
            if node.op_type not in commutative or len(node.inputs) != 2:
                continue
            first, second = node.inputs
            if _is_constant(first) and not _is_constant(second):
                node.replace_input_with(0, second)
                node.replace_input_with(1, first)
                changed = True
        return ir.passes.PassResult(model, modified=changed)


def _is_constant(value: ir.Value | None) -> bool:
    return value is not None and ir.convenience.get_const_tensor(value) is not None
