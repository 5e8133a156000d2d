"""HardSigmoid and HardSwish, written out with a Clip between 0 and 6, become operators again.

x * clip(x + 3, 0, 6) / 6 (Howard et al. 2019, arXiv:1905.02244). As one operator it has an integer
kernel on both runtimes and needs no calibrated ranges inside.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import pattern

from edgeconv.export.passes.rewriting import Rewrites, is_number


def _clipped(op: Any, x: Any, three: Any, low: Any, high: Any) -> Any:
    return op.Clip(op.Add(x, three), low, high)


def _bounds_fit(three: ir.Value, low: ir.Value, high: ir.Value) -> bool:
    return is_number(three, 3) and is_number(low, 0) and is_number(high, 6)


def _divided(context: Any, three: Any, low: Any, high: Any, six: Any, **_: Any) -> bool:
    return _bounds_fit(three, low, high) and is_number(six, 6)


def _multiplied(context: Any, three: Any, low: Any, high: Any, sixth: Any, **_: Any) -> bool:
    return _bounds_fit(three, low, high) and is_number(sixth, 1 / 6)


def _hard_sigmoid(op: Any, x: Any, **_: Any) -> Any:
    return op.HardSigmoid(x, alpha=1 / 6, beta=0.5)


def _hard_swish(op: Any, x: Any, **_: Any) -> Any:
    return op.HardSwish(x)


def _of_hard_sigmoid(context: Any, gate: ir.Value, **_: Any) -> bool:
    node = gate.producer()
    if node is None:
        return False
    alpha, beta = (node.attributes.get_float(name, 0.0) for name in ("alpha", "beta"))
    return abs(alpha - 1 / 6) < 1e-5 and abs(beta - 0.5) < 1e-5


class HardSwish(Rewrites):
    """``Clip(x + 3, 0, 6) / 6`` (or times 1/6) → ``HardSigmoid(x)``; x times that, in any of its
    orders → ``HardSwish(x)``.
    """

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
