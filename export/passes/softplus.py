"""A Softplus that returns large inputs as they are becomes a plain one; so does Log(Sigmoid(x)).

PyTorch writes x itself above a threshold, where log(1 + exp(x)) is x to the last bit of float32.
ONNX Runtime and TFLite compute Softplus without overflow, and the choice costs both of them a
comparison and a selection that have no integer form. The logarithm of a sigmoid is minus infinity
where the sigmoid is too small for float32, as it is from -104 down.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import pattern

from edgeconv.export.passes.rewriting import MATCH, NearMiss, Rewrites, no_match, number

# exp(-15) / 15 is a quarter of float32's epsilon: from there on the difference is rounded away.
LEAST_THRESHOLD = 15.0


def _exact(context: Any, threshold: ir.Value, **_: Any) -> pattern.MatchResult:
    known = number(threshold)
    if known is None:
        return no_match("its threshold is not a constant")
    if known < LEAST_THRESHOLD:
        return no_match(
            NearMiss(f"its threshold is {known:g}, and below {LEAST_THRESHOLD:g} the two differ")
        )
    return MATCH


def _is_sigmoid(context: Any, y: ir.Value, **_: Any) -> pattern.MatchResult:
    producer = y.producer()
    if producer is None or producer.op_type != "Sigmoid" or producer.domain:
        return no_match("its input is no sigmoid")
    return MATCH


def _scaled(op: Any, x: Any, beta: Any) -> Any:
    return op.Div(op.Softplus(op.Mul(x, beta)), beta)


class Softplus(Rewrites):
    """``Where(x > t, x, Softplus(x))`` → ``Softplus(x)``, for t of 15 or more.

    ``Softplus(b x) / b`` loses its choice in the same way where ``b x`` is compared.
    ``Log(Sigmoid(x))`` → ``-Softplus(-x)``.
    """

    subject = "Softplus"
    rules = (
        pattern.RewriteRule(
            lambda op, x, threshold: op.Where(op.Greater(x, threshold), x, op.Softplus(x)),
            lambda op, x, **_: op.Softplus(x),
            _exact,
        ),
        pattern.RewriteRule(
            lambda op, x, beta, threshold: op.Where(
                op.Greater(op.Mul(x, beta), threshold), x, _scaled(op, x, beta)
            ),
            lambda op, x, beta, **_: _scaled(op, x, beta),
            _exact,
        ),
        # The sigmoid is no part of the pattern: others may read it, as a cross entropy does.
        pattern.RewriteRule(
            lambda op, y: op.Log(y),
            lambda op, y, **_: op.Neg(op.Softplus(op.Neg(y.producer().inputs[0]))),
            _is_sigmoid,
        ),
    )
