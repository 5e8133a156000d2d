"""What the rewrites have in common: constants of one number, and rules that run as a pass."""

from __future__ import annotations

import math

import onnx_ir as ir
from onnxscript.rewriter import pattern

# Constants are written with six digits or more.
_TOLERANCE = 1e-5


def number(value: ir.Value | None) -> float | None:
    """The only element of a constant; None for anything else."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.size != 1 or len(tensor.shape) > 1:
        return None
    return float(tensor.numpy().reshape(-1)[0])


def is_number(value: ir.Value | None, expected: float) -> bool:
    known = number(value)
    return known is not None and math.isclose(known, expected, rel_tol=_TOLERANCE)


class Rewrites(ir.passes.InPlacePass):
    """Applies rules until none matches. Subclasses name them in ``rules``."""

    rules: tuple[pattern.RewriteRule, ...] = ()

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        count = pattern.RewriteRuleSet(self.rules).apply_to_model(model)
        return ir.passes.PassResult(model, modified=count > 0)
