"""Find out which outputs are probabilities, and take them back to what they were computed from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.traits import Trait, operators

Array = npt.NDArray[Any]

_MOVES = operators(Trait.MOVES, without=Trait.JOINS)
# What float32 cannot tell from zero beside a probability of 1.
_LEAST = 2.0**-24
# The Sigmoid of an int8 file has steps of 1/256: what is within half of one is 0 or 1 to it.
_HALF_STEP = 1 / 512


def logits_of(output: ir.Value) -> Callable[[Array], Array] | None:
    """How the values of an output become logits; None for an output that is no probability.

    Those of a Softmax are exact up to a constant, which its result does not depend on.
    """
    node = output.producer()
    while node is not None and node.domain == "" and node.op_type in _MOVES:
        source = node.inputs[0]
        node = None if source is None else source.producer()
    if node is None or node.domain != "":
        return None
    return {"Softmax": _of_softmax, "Sigmoid": _of_sigmoid}.get(node.op_type)


def _of_softmax(shares: Array) -> Array:
    logits: Array = np.log(np.maximum(shares, np.float32(_LEAST)))
    return logits


def _of_sigmoid(probabilities: Array) -> Array:
    inside = np.clip(probabilities, np.float32(_HALF_STEP), np.float32(1 - _HALF_STEP))
    logits: Array = np.log(inside) - np.log1p(-inside)
    return logits
