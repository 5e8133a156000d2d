"""Whether the numbers that an operator takes may be too large for a kernel that is approximate."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import known_array
from edgeconv.export.traits import Trait, operators

# XNNPACK's LOGISTIC is NaN from about 1e26 on.
HUGE = 1e20
# Beyond all of these, sums of products with weights that are not huge themselves.
_BOUNDS = {
    *operators(Trait.WEIGHTED | Trait.RECURRENT | Trait.NORMALIZES),
    *("Softmax", "LogSoftmax", "Sigmoid", "Tanh", "HardSigmoid", "Erf", "Sin", "Cos", "Softsign"),
}
_GROWS = {"Div", "Exp", "Pow", "Reciprocal"}
_MOST_OPERATORS = 200


def may_be_huge(value: ir.Value) -> bool:
    """Whether an element of ``value`` may be beyond :data:`HUGE`, other than by huge weights.

    What the caller gives may, and so may what was filled with a huge constant, as masks are, or
    divided by what is nearly zero.
    """
    pending, seen = [value], set[ir.Value]()
    while pending and len(seen) < _MOST_OPERATORS:
        value = pending.pop()
        if value in seen or (value.dtype is not None and not value.dtype.is_floating_point()):
            continue
        seen.add(value)
        known = known_array(value)
        if known is not None:
            if known.size and float(np.abs(known[~np.isnan(known)]).max(initial=0)) > HUGE:
                return True
            continue
        node = value.producer()
        if node is None:
            return True
        if node.op_type in _BOUNDS:
            continue
        inputs = [each for each in node.inputs if each is not None]
        if node.op_type in _GROWS and any(known_array(each) is None for each in inputs[-1:]):
            return True
        pending += inputs
    return bool(pending)
