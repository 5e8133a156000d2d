"""HardSigmoid and HardSwish, written out with a Clip between 0 and 6, become operators again.

x * clip(x + 3, 0, 6) / 6 (Howard et al. 2019, arXiv:1905.02244). As one operator it has an integer
kernel on both runtimes and needs no calibrated ranges inside.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import pattern

from edgeconv.export.passes.rewriting import Rewrites, check_numbers, compare, no_match


def _clipped(op: Any, x: Any, three: Any, low: Any, high: Any) -> Any:
    return op.Clip(op.Add(x, three), low, high)


_BOUNDS = {"three": 3.0, "low": 0.0, "high": 6.0}


def _divided(context: Any, **values: Any) -> pattern.MatchResult:
    return check_numbers(values, {**_BOUNDS, "six": 6.0})


def _multiplied(context: Any, **values: Any) -> pattern.MatchResult:
    return check_numbers(values, {**_BOUNDS, "sixth": 1 / 6})


def _hard_sigmoid(op: Any, x: Any, **_: Any) -> Any:
    return op.HardSigmoid(x, alpha=1 / 6, beta=0.5)


def _hard_swish(op: Any, x: Any, **_: Any) -> Any:
    return op.HardSwish(x)


def _of_hard_sigmoid(context: Any, gate: ir.Value, **_: Any) -> pattern.MatchResult:
    node = gate.producer()
    if node is None:
        return no_match("its gate is an input")
    stated = node.attributes
    found = {"alpha": stated.get_float("alpha", 0.2), "beta": stated.get_float("beta", 0.5)}
    return compare(found, {"alpha": 1 / 6, "beta": 0.5})


class HardSwish(Rewrites):
    """``Clip(x + 3, 0, 6) / 6`` (or times 1/6) → ``HardSigmoid(x)``.

    x times that becomes ``HardSwish(x)``, in whatever order it is multiplied.
    """

    subject = "HardSwish or HardSigmoid"
    rules = (
        pattern.RewriteRule(
            lambda op, x, three, low, high, six: op.Div(
                op.Mul(x, _clipped(op, x, three, low, high)), six
            ),
            _hard_swish,
            _divided,
        ),
        pattern.RewriteRule(
            lambda op, x, three, low, high, six: op.Div(
                op.Mul(_clipped(op, x, three, low, high), x), six
            ),
            _hard_swish,
            _divided,
        ),
        pattern.RewriteRule(
            lambda op, x, three, low, high, sixth: op.Mul(
                op.Mul(x, _clipped(op, x, three, low, high)), sixth
            ),
            _hard_swish,
            _multiplied,
        ),
        pattern.RewriteRule(
            lambda op, x, three, low, high, six: op.Div(_clipped(op, x, three, low, high), six),
            _hard_sigmoid,
            _divided,
        ),
        pattern.RewriteRule(
            lambda op, x, three, low, high, sixth: op.Mul(_clipped(op, x, three, low, high), sixth),
            _hard_sigmoid,
            _multiplied,
        ),
        pattern.RewriteRule(
            lambda op, x: op.Mul(
                x, op.HardSigmoid(x, _allow_other_attributes=True, _outputs=["gate"])
            ),
            _hard_swish,
            _of_hard_sigmoid,
        ),
        pattern.RewriteRule(
            lambda op, x: op.Mul(
                op.HardSigmoid(x, _allow_other_attributes=True, _outputs=["gate"]), x
            ),
            _hard_swish,
            _of_hard_sigmoid,
        ),
    )
