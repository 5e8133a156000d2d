"""The boxes of one sample: what a detector's outputs, or the user's function, say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError, first_line
from edgeconv.export.tasks.task import shapes

Decode = Callable[[list[Any]], Any]

_WANTED = "return boxes [M, 4], scores [M] and classes [M], in this order"
_OF_BOX = 4
_PARTS = 3


@dataclass(frozen=True)
class FoundBoxes:
    """The boxes that a network found in one image.

    Attributes:
        corners: Their corners x1, y1, x2, y2 [M, 4] in pixels of the input, in float64.
        scores: Their scores [M], in float64.
        classes: Their classes [M], in int64.
    """

    corners: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]


def decoded(decode: Decode, outputs: list[Any]) -> FoundBoxes:
    """What a function of the user's makes of the outputs of one sample.

    Args:
        decode: The function.
        outputs: The outputs without the batch dimension.

    Raises:
        DataError: The function raised something, or returned something other than boxes, scores
            and classes.
    """
    try:
        returned = decode(outputs)
    except Exception as error:  # the user's own code: anything can come out of it
        raise DataError(
            f"decode raised {type(error).__name__}: {first_line(error)}",
            hint=f"call it in Python to see where; it got outputs of shape {shapes(outputs)}",
        ) from error
    if not isinstance(returned, (tuple, list)) or len(returned) != _PARTS:
        kind = type(returned).__name__
        many = f" of {len(returned)}" if isinstance(returned, (tuple, list)) else ""
        raise DataError(f"decode returned a {kind}{many}", hint=_WANTED)
    try:
        boxes, scores, classes = map(np.asarray, returned)
    except ValueError as error:  # lists of different lengths
        raise DataError(f"decode returned no arrays: {first_line(error)}", hint=_WANTED) from error
    return checked(boxes, scores, classes, "decode returned")


def checked(
    boxes: npt.NDArray[Any], scores: npt.NDArray[Any], classes: npt.NDArray[Any], begin: str
) -> FoundBoxes:
    """Check that arrays are boxes, scores and classes.

    Args:
        boxes: The corners [M, 4].
        scores: The scores [M].
        classes: The classes [M]: integers, or real numbers without a fraction.
        begin: How the message begins.

    Raises:
        DataError: Their shapes do not fit, a number is NaN or infinite, or a class has a fraction.
    """
    if boxes.size == scores.size == classes.size == 0:
        boxes, scores, classes = np.zeros((0, _OF_BOX)), np.zeros(0), np.zeros(0)
    if boxes.shape != (len(boxes), _OF_BOX) or not len(boxes) == scores.size == classes.size:
        raise DataError(
            f"{begin} boxes {list(boxes.shape)}, scores {list(scores.shape)} and classes "
            f"{list(classes.shape)}",
            hint=_WANTED,
        )
    for what, array in (("boxes", boxes), ("scores", scores), ("classes", classes)):
        if array.dtype.kind not in "fiub":
            raise DataError(f"{begin} {what} of {array.dtype}", hint=f"{_WANTED}, as numbers")
        if not np.isfinite(array).all():
            raise DataError(f"{begin} {what} that are NaN or infinite", hint="leave them out")
    broken = classes[classes != np.trunc(classes)]
    if len(broken):
        raise DataError(f"{begin} the class {broken[0]:.4g}, which is no integer", hint=_WANTED)
    return FoundBoxes(
        boxes.astype(np.float64),
        scores.reshape(-1).astype(np.float64),
        classes.reshape(-1).astype(np.int64),
    )
