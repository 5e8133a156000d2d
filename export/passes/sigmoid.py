"""A sigmoid written out with Exp becomes one again; a SiLU is then x times it.

ONNX below opset 24 has no operator for SiLU. Sigmoid and Mul have integer kernels, which Exp and
Div lack.
"""

from __future__ import annotations

from typing import Any

from onnxscript.rewriter import pattern

from edgeconv.export.passes.rewriting import Rewrites, check_numbers


def _raised(op: Any, x: Any, one: Any) -> Any:
    return op.Add(op.Exp(op.Neg(x)), one)


def _is_one(context: Any, one: Any, above: Any = None, **_: Any) -> pattern.MatchResult:
    values = {"one": one} if above is None else {"one": one, "above": above}
    return check_numbers(values, dict.fromkeys(values, 1.0))


class Sigmoid(Rewrites):
    """``1 / (1 + Exp(-x))`` → ``Sigmoid(x)``; ``x / (1 + Exp(-x))`` → ``x * Sigmoid(x)``."""

    subject = "sigmoid"
    rules = (
        pattern.RewriteRule(
            lambda op, x, one: op.Div(x, _raised(op, x, one)),
            lambda op, x, **_: op.Mul(x, op.Sigmoid(x)),
            _is_one,
        ),
        pattern.RewriteRule(
            lambda op, x, one, above: op.Div(above, _raised(op, x, one)),
            lambda op, x, **_: op.Sigmoid(x),
            _is_one,
        ),
        pattern.RewriteRule(
            lambda op, x, one: op.Reciprocal(_raised(op, x, one)),
            lambda op, x, **_: op.Sigmoid(x),
            _is_one,
        ),
    )
