"""Find samples that are so much larger than all others that they are mistakes.

A wild pixel, or an image that was scaled twice, would set the ranges of int8 for everybody. Natural
data has large samples too, and they must stay. The rule therefore assumes the heaviest tail that is
common, a power law, whatever its exponent: the logarithms of the magnitudes then have an
exponential tail, whose gaps between neighbors in order, times their rank from the top, are
independent with one mean (Rényi, 1953). So the gap below the largest samples, over the mean of the
gaps below it, has an F distribution, and the chance that good data is accused is known. Lighter
tails have smaller gaps at the top and are accused less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# The chance that anything in a set of good samples is left out.
FALSE_ALARMS = 0.01
# At most this share of the samples is outlying; at least one may be.
_LARGEST_SHARE = 1 / 16
# What does not even double the range costs less than one bit.
_LEAST_RATIO = 2.0
# With few samples, the gaps of more than the upper half of them are compared.
_LEAST_GAPS = 7


@dataclass(frozen=True)
class Outlying:
    """A sample that was left out.

    Attributes:
        name: The sample's name, such as its file.
        magnitude: Its largest magnitude in the input where it stands out.
        usual: The largest magnitude there of all samples that stayed.
    """

    name: str
    magnitude: float
    usual: float


def find_outlying(magnitudes: Sequence[float], false_alarms: float = FALSE_ALARMS) -> list[int]:
    """Find the samples that a power law does not explain, among all samples of one input.

    Args:
        magnitudes: The largest magnitude of each sample.
        false_alarms: The chance to find any in samples that follow a power law.

    Returns:
        Their indices, in order.
    """
    count = len(magnitudes)
    order = np.argsort(magnitudes)[::-1]
    descending = np.asarray(magnitudes, np.float64)[order]
    if count < 3 or descending[0] <= 0:
        return []
    # A sample of zeros has no logarithm, nor has it a place among the largest.
    logs = np.log(np.maximum(descending, descending[0] * 1e-30))
    gaps = np.arange(1, count) * -np.diff(logs)
    upper = max(count // 2, min(count - 1, _LEAST_GAPS))
    most = max(1, math.floor(count * _LARGEST_SHARE))
    for taken in range(min(most, upper - 1), 0, -1):
        if logs[taken - 1] - logs[taken] < math.log(_LEAST_RATIO):
            continue
        below = gaps[taken:upper]
        if _chance(gaps[taken - 1], float(below.mean()), len(below)) < false_alarms / most:
            return sorted(int(index) for index in order[:taken])
    return []


def _chance(gap: float, mean: float, count: int) -> float:
    """The upper tail of F(2, 2 count) at the ratio of a gap to the mean of ``count`` others."""
    return 0.0 if mean == 0 else float((1 + gap / mean / count) ** -count)
