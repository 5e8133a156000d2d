"""A PRelu with one slope is LeakyRelu.

That is what PyTorch's PReLU has unless it is asked for a slope a channel. LeakyRelu has integer
kernels in both runtimes; PRelu has none in ONNX Runtime, and a slow one in TFLite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import pattern

from edgeconv.export.passes.rewriting import Rewrites


def _slope(value: ir.Value) -> float | None:
    """The number that all slopes are; None where they differ or are computed."""
    tensor = ir.convenience.get_const_tensor(value)
    slopes = None if tensor is None else tensor.numpy().reshape(-1)
    if slopes is None or not slopes.size or np.any(slopes != slopes[0]):
        return None
    return float(slopes[0])


def _applies(context: Any, x: ir.Value, slope: ir.Value, **_: Any) -> bool:
    return x.dtype == ir.DataType.FLOAT and _slope(slope) is not None


class PReluToLeakyRelu(Rewrites):
    """``PRelu(x, slope)`` → ``LeakyRelu(x, alpha=slope)``, where the constant slopes are equal."""

    rules = (
        pattern.RewriteRule(
            lambda op, x, slope: op.PRelu(x, slope),
            lambda op, x, slope: op.LeakyRelu(x, alpha=_slope(slope)),
            _applies,
        ),
    )
