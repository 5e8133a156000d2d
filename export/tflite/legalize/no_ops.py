"""Nodes that change nothing: masks of zeros, factors of one, choices that are always the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.graph import Array
from edgeconv.export.traits import Trait, operators

Elements = Callable[[ir.Value | None], Array | None]

NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}
EITHER_SIDE = operators(Trait.COMMUTES)


def forwarded_input(
    op_type: str, inputs: Sequence[ir.Value | None], elements: Elements
) -> ir.Value | None:
    """Find the input that the result of a node is equal to; None if there is none.

    ``elements`` gives those of a value that is known.
    """
    if op_type in NEUTRAL:
        pairs = [(inputs[0], inputs[1])]
        if op_type in EITHER_SIDE:
            pairs.append((inputs[1], inputs[0]))
        for value, other in pairs:
            if _all(elements(other), NEUTRAL[op_type]) and _shapes_alike(value, inputs):
                return value
    if op_type == "Where":
        for taken, value in ((True, inputs[1]), (False, inputs[2])):
            if _all(elements(inputs[0]), taken) and _shapes_alike(value, inputs):
                return value
    return None


def _all(array: Array | None, number: float) -> bool:
    return array is not None and array.size > 0 and bool(np.all(array == number))


def _shapes_alike(value: ir.Value | None, inputs: Sequence[ir.Value | None]) -> bool:
    """Whether the inputs broadcast to the shape of ``value``."""
    shapes = [item.shape for item in inputs if item is not None]
    if (
        value is None
        or value.shape is None
        or any(shape is None or not shape.is_static() for shape in shapes)
    ):
        return False
    known = [shape.numpy() for shape in shapes if shape is not None]
    return np.broadcast_shapes(*known) == tuple(value.shape.numpy())
