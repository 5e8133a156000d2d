"""Judge how much of the network the outputs of a quantized file keep.

A file is held against the float network, and beside it what exact arithmetic on the same integers
and scales keeps. Two right files differ from each other, yet each of them keeps about as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import MIN_WITHIN_ONE_STEP
from edgeconv.metrics import EQUAL_DB, POOR_SQNR_DB, sqnr_db, stacked

Array = npt.NDArray[Any]
Outputs = list[Array]

# Where fewer samples than this are there, their spread is not estimated from them alone.
_FEW_SAMPLES = 8
# What the kept ratio of one sample typically moves by when every value is rounded in another way,
# in dB: LiteRT's two sets of kernels differ by 1 to 3 dB on single samples of deep networks.
_SPREAD_DB = 3.0
# A mean over n samples has an error of its spread / sqrt(n); three of those are hardly chance.
_ERRORS = 3.0
# The share of right indices may fall by as much where a tie between two scores decides them.
_LOST_SHARE = 0.02
# What is zero everywhere has 0 dB.
NOTHING_DB = 0.5
_SPREAD_OF_SHARE = 0.1


class Tolerance(Enum):
    """How much less than exact arithmetic a right file may keep, beyond chance.

    Attributes:
        margin_db: The difference.
        enough_db: What is always enough, because beyond it only rounding is compared.
    """

    FIXED_SCALES = (1.0, 60.0)
    # Every rounding before an operator moves the scale that it finds for itself. And formats find
    # one scale per row or one per tensor, which is worth up to 6 dB either way.
    SCALES_AT_RUN_TIME = (6.0, 60.0)
    # The reference rounds too, in other places, so that two right outputs differ from it by more
    # than each other. Differences of one step, a few in every layer, leave 40 dB in a shallow
    # network and 20 in a deep one.
    PREQUANTIZED = (6.0, 15.0)

    def __init__(self, margin_db: float, enough_db: float) -> None:
        self.margin_db = margin_db
        self.enough_db = enough_db


def keeps_enough(
    reference: Sequence[Outputs],
    exact: Sequence[Outputs],
    got: Sequence[Outputs],
    steps: Sequence[float | None],
    tolerance: Tolerance,
) -> bool:
    """Whether a file keeps as much of every output as exact arithmetic does, but for chance.

    The samples are compared in pairs, because what one sample keeps says little about the next.

    Args:
        reference: The float network's outputs for each sample.
        exact: What exact arithmetic makes of the quantized graph.
        got: What the file computed.
        steps: The real size of one step of each output; None or missing for a float output.
        tolerance: How much less is right.
    """
    for index, ours in enumerate(zip(*got, strict=True)):
        expected = [sample[index] for sample in reference]
        ideal = [sample[index] for sample in exact]
        step = steps[index] if index < len(steps) else None
        if step is not None and _within(stacked(ideal), stacked(ours), step).mean() >= (
            MIN_WITHIN_ONE_STEP
        ):
            continue
        if expected[0].dtype.kind == "f":
            kept = [_kept(e, i, tolerance) for e, i in zip(expected, ideal, strict=True)]
            ours_kept = [_kept(e, o, tolerance) for e, o in zip(expected, ours, strict=True)]
            margin, spread = tolerance.margin_db, _SPREAD_DB
        else:
            kept = [float(np.mean(e == i)) for e, i in zip(expected, ideal, strict=True)]
            ours_kept = [float(np.mean(e == o)) for e, o in zip(expected, ours, strict=True)]
            margin, spread = _LOST_SHARE, _SPREAD_OF_SHARE
        if _is_loss(np.subtract(kept, ours_kept), margin, spread):
            return False
    return True


def _kept(expected: Array, got: Array, tolerance: Tolerance) -> float:
    return min(sqnr_db(expected, got), tolerance.enough_db)


def _is_loss(lost: npt.NDArray[np.float64], margin: float, typical_spread: float) -> bool:
    """Whether the mean of ``lost`` exceeds ``margin`` by more than chance explains."""
    spread = float(np.std(lost, ddof=1)) if len(lost) > 1 else typical_spread
    if len(lost) < _FEW_SAMPLES:
        spread = max(spread, typical_spread)
    return bool(np.mean(lost) > margin + _ERRORS * spread / np.sqrt(len(lost)))


def keeps_nothing(ratios_db: Sequence[float], expected: Array, got: Array) -> bool:
    """Whether a file says nothing about an output of the network, or a part of one.

    Args:
        ratios_db: The SQNR of each output and part.
        expected: The network's first output for all samples, stacked.
        got: That of the file.
    """
    if is_noise(ratios_db):
        return True
    return min(ratios_db) < POOR_SQNR_DB and _argmax_by_chance(expected, got)


def is_noise(ratios_db: Sequence[float]) -> bool:
    """Whether an output or a part is as far from the network's as zeros would be.

    Where the network's own values are all zero the ratio is -EQUAL_DB, and nothing can be kept.
    """
    return any(-EQUAL_DB < ratio < NOTHING_DB for ratio in ratios_db)


def _argmax_by_chance(expected: Array, got: Array) -> bool:
    """Whether the index of the largest element is right no more often than by chance.

    By chance it would be right as often as two independent draws from the indices that each of the
    two has.
    """
    if not is_scores(expected):
        return False
    ours, theirs = got.argmax(-1).ravel(), expected.argmax(-1).ravel()
    if len(theirs) < _FEW_SAMPLES or len(set(theirs.tolist())) == 1:
        return False
    classes = expected.shape[-1]
    frequencies = [np.bincount(each, minlength=classes) / len(each) for each in (ours, theirs)]
    return bool(np.mean(ours == theirs) <= frequencies[0] @ frequencies[1])


def is_scores(rows: Array) -> bool:
    """Whether the stacked output is a matrix of scores, which have a largest one."""
    return rows.ndim == 3 and rows.dtype.kind == "f" and rows.shape[-1] > 1 and rows.size > 0


def stacked_pairs(expected: Sequence[Outputs], got: Sequence[Outputs]) -> list[tuple[Array, Array]]:
    """Stack the samples of each output of the network, expected and got."""
    return [
        (stacked([sample[i] for sample in expected]), stacked([sample[i] for sample in got]))
        for i in range(len(expected[0]))
    ]


def share_within_one_step(
    a: Sequence[Outputs], b: Sequence[Outputs], steps: Sequence[float | None]
) -> float | None:
    """The share of all output values that differ by at most one step.

    Outputs without a step do not count; None where no output has one.
    """
    counted = [
        _within(x, y, step).ravel()
        for (x, y), step in zip(stacked_pairs(a, b), steps, strict=False)
        if step is not None
    ]
    return float(np.mean(np.concatenate(counted))) if counted else None


def _within(a: Array, b: Array, step: float) -> npt.NDArray[np.bool_]:
    # A hundredth more than a step, for the rounding of float32 differences.
    within: npt.NDArray[np.bool_] = np.abs(a - b) <= step * 1.01
    return within
