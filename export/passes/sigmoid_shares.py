"""Sigmoids that are divided by their sum become a softmax of their logarithms.

ONNX Runtime's Sigmoid is right to 1e-7, and zero from -18 down, where PyTorch's has the precision
of float32 down to -87. Where all of a row are so small the quotient was 0 / 0.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import pattern

from edgeconv.export.passes.rewriting import MATCH, Rewrites, no_match, number


def _shares(op: Any, x: Any, axes: Any) -> Any:
    sigmoid = op.Sigmoid(x)
    total = op.ReduceSum(sigmoid, axes, keepdims=1, _allow_other_attributes=True)
    return op.Div(sigmoid, total)


def _along_one_axis(context: Any, axes: ir.Value, **_: Any) -> pattern.MatchResult:
    return no_match("the sum is not along one axis") if number(axes) is None else MATCH


def _softmax(op: Any, x: ir.Value, axes: ir.Value, **_: Any) -> Any:
    axis = number(axes)
    assert axis is not None  # see _along_one_axis
    return op.Softmax(op.Neg(op.Softplus(op.Neg(x))), axis=int(axis))


class SigmoidShares(Rewrites):
    """``Sigmoid(x) / ReduceSum(Sigmoid(x), axis)`` → ``Softmax(-Softplus(-x), axis)``."""

    subject = "sigmoids divided by their sum"
    rules = (pattern.RewriteRule(_shares, _softmax, _along_one_axis),)
