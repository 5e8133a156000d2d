"""In which form a detector's boxes would lie where the true ones are.

Boxes come as corners or with a center, in pixels or as shares of the input, and no file says how.
A wrong reading gives a figure near zero, for which a network, its int8 or the data may be blamed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Corners = npt.NDArray[np.float64]

# Boxes that overlap by half are the same, as for mAP .5.
LEAST_OVERLAP = 0.5
# So much of the true boxes another form has to find before it is taken for the right one, and so
# many times as many as the documented form.
_LEAST_SHARE, _TIMES = 0.25, 2
_FEWEST_BOXES = 5
# And by so many standard errors more than of the true boxes of another image: large boxes, many
# boxes, or the same ones for every image, hit some in one form or another without having seen them.
_BEYOND_CHANCE = 2.5
# Or by so much of at least so many boxes, of which the documented form finds next to none: where
# all images have their object in the same place, those of another image are found as well.
_NEARLY_ALL, _NEXT_TO_NONE, _FEWEST_OF_ALL = 0.9, 0.1, 10


@dataclass(frozen=True)
class _Form:
    name: str
    corners: Callable[[Corners], Corners]


def _of_center(boxes: Corners) -> Corners:
    half = boxes[:, 2:] / 2
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), 1)


def _of_extent(boxes: Corners) -> Corners:
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), 1)


_FORMS = (
    _Form("corners x1, y1, x2, y2", lambda boxes: boxes),
    _Form("center x, center y, width, height", _of_center),
    _Form("x, y, width, height", _of_extent),
    _Form("corners y1, x1, y2, x2", lambda boxes: boxes[:, [1, 0, 3, 2]]),
)
# Each form, and whether the numbers are shares of the input; the first reading is documented.
_READINGS = [(form, shares) for shares in (False, True) for form in _FORMS]


def overlaps(boxes: Corners, others: Corners) -> npt.NDArray[np.float64]:
    """The intersection over union [M, T] of corners [M, 4] and others [T, 4]."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [
        np.prod(np.clip(each[:, 2:] - each[:, :2], 0, None), axis=1) for each in (boxes, others)
    ]
    either = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.where(either > 0, either, 1.0))


def found_in_each(boxes: Corners, true: Corners, size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """How many true boxes are found if the boxes are read in each form.

    Args:
        boxes: Boxes [M, 4] as the network gives them.
        true: The corners of true boxes [T, 4] in pixels of the input.
        size: The input's height and width.
    """
    if not len(boxes) or not len(true):
        return np.zeros(len(_READINGS), np.int64)
    height, width = size
    found = []
    for form, shares in _READINGS:
        corners = form.corners(boxes) * ((width, height, width, height) if shares else 1)
        found.append((overlaps(corners, true).max(0) >= LEAST_OVERLAP).sum())
    return np.array(found, np.int64)


def other_form(
    found: npt.NDArray[np.int64], by_chance: npt.NDArray[np.int64], true: int
) -> tuple[str, int] | None:
    """The form in which far more true boxes are found than in the documented one, if there is one.

    Args:
        found: How many were found in each form.
        by_chance: How many of other images' boxes, as many, were found in each form.
        true: How many true boxes there are.

    Returns:
        The form, and how many are found in it.
    """
    best = _best(found, by_chance, true)
    if best is None:
        return None
    most, documented = int(found[best]), int(found[0])
    if most < max(_FEWEST_BOXES, _LEAST_SHARE * true, _TIMES * documented):
        return None
    form, shares = _READINGS[best]
    return f"{form.name} {'as shares of the input' if shares else 'in pixels'}", most


def _best(found: npt.NDArray[np.int64], by_chance: npt.NDArray[np.int64], true: int) -> int | None:
    """The reading, other than the documented one, that no chance explains."""
    beyond = found - by_chance
    best = int(beyond.argmax())
    noise = math.sqrt(int(found[best]) + int(by_chance[best]))
    if beyond[best] > 0 and beyond[best] >= _BEYOND_CHANCE * noise:
        return best or None
    best = int(found.argmax())
    nearly_all = true >= _FEWEST_OF_ALL and found[best] >= _NEARLY_ALL * true
    return best if nearly_all and found[0] <= _NEXT_TO_NONE * true else None
