"""A PRelu with one slope becomes LeakyRelu.

PyTorch's PReLU has one slope unless it is given a number of channels. LeakyRelu has integer
kernels in both runtimes; PRelu has none in ONNX Runtime, and a slow one in TFLite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import pattern

from edgeconv.export.passes.rewriting import MATCH, Rewrites, no_match


def _slope(value: ir.Value) -> float | None:
    """Return the number that all slopes are; None where they differ or are computed."""
    tensor = ir.convenience.get_const_tensor(value)
    slopes = None if tensor is None else tensor.numpy().reshape(-1)
    if slopes is None or not slopes.size or np.any(slopes != slopes[0]):
        return None
    return float(slopes[0])


def _has_one_slope(context: Any, x: ir.Value, slope: ir.Value, **_: Any) -> pattern.MatchResult:
    if x.dtype != ir.DataType.FLOAT:
        return no_match("it does not compute in float32")
    return MATCH if _slope(slope) is not None else no_match("its slopes differ")


class PReluToLeakyRelu(Rewrites):
    """``PRelu(x, slope)`` → ``LeakyRelu(x, alpha=slope)``, where the constant slopes are equal."""

    subject = "PRelu"
    rules = (
        pattern.RewriteRule(
            lambda op, x, slope: op.PRelu(x, slope),
            lambda op, x, slope: op.LeakyRelu(x, alpha=_slope(slope)),
            _has_one_slope,
        ),
    )
