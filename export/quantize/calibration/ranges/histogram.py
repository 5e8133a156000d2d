"""Counts of an activation's values in bins that never move.

A bin is a sign, an exponent and the first six bits of a mantissa, which are the upper bits of a
float32. So bins are 0.8 to 1.6 % wide wherever the values lie, and the counts do not depend on the
order of the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeconv.export.quantize.calibration.ranges.distribution import Distribution

_MANTISSA_BITS = 6
_SHIFT = 23 - _MANTISSA_BITS
_BIAS = 127
# Magnitudes from 2^-40, under which they count as zero, to 2^24, where the last bin takes the rest.
_FIRST = (_BIAS - 40) << _MANTISSA_BITS
_LAST = ((_BIAS + 24) << _MANTISSA_BITS) - 1
# Bin 0 is zero, the others are magnitudes; the second half of the bins is for negative values.
_HALF = _LAST - _FIRST + 2
BINS = 2 * _HALF

_CHUNK = 1 << 15  # values at a time: what a core's own cache holds


def count(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Count how many of the finite ``values`` (contiguous, of any shape) fall into each bin."""
    bits = values.reshape(-1).view(np.uint32)
    counts = _count(bits[:_CHUNK])
    for first in range(_CHUNK, len(bits), _CHUNK):
        counts += _count(bits[first : first + _CHUNK])
    return counts


def _count(bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    bins = _BIN_OF.take(bits >> np.uint32(_SHIFT))
    return np.bincount(bins, minlength=BINS).astype(np.int64, copy=False)


def _bins(bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """The bin of each float32 with these bits."""
    magnitudes = (bits & 0x7FFFFFFF).astype(np.int64) >> _SHIFT
    bins: npt.NDArray[np.int64] = np.clip(magnitudes - (_FIRST - 1), 0, _HALF - 1)
    bins += (bits >> 31) * np.int64(_HALF)
    return bins


# By the bits that decide it: to look a bin up takes half the time of computing it.
_BIN_OF = _bins(np.arange(1 << (32 - _SHIFT), dtype=np.uint32) << np.uint32(_SHIFT))


def _edges() -> npt.NDArray[np.float64]:
    """Lower edge of each magnitude's bin, and the upper edge of the last."""
    bits = np.arange(_FIRST, _LAST + 2, dtype=np.uint32) << np.uint32(_SHIFT)
    edges: npt.NDArray[np.float64] = bits.view(np.float32).astype(np.float64)
    return edges


@dataclass
class Histogram:
    """What calibration observed of one activation.

    Attributes:
        minimum: The least value, exactly.
        maximum: The greatest value, exactly.
        weight: How many values each counted one stands for.
        counts: The number of counted values in each bin, int64 [BINS].
    """

    minimum: float
    maximum: float
    weight: int
    counts: npt.NDArray[np.int64]

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            max(self.weight, other.weight),  # a part without values has none
            self.counts + other.counts,
        )


def merge(histograms: Sequence[Histogram]) -> Distribution:
    """Add up the distributions of several activations."""
    counts = np.zeros(BINS)
    for histogram in histograms:
        counts += histogram.counts * float(histogram.weight)
    minimum = min(histogram.minimum for histogram in histograms)
    maximum = max(histogram.maximum for histogram in histograms)
    edges = _edges()
    positive, negative = counts[1:_HALF], counts[_HALF + 1 :]
    zeros = counts[0] + counts[_HALF]
    low = np.concatenate([-edges[:0:-1], [0.0], edges[:-1]])
    high = np.concatenate([-edges[-2::-1], [0.0], edges[1:]])
    mass = np.concatenate([negative[::-1], [zeros], positive])
    held = mass > 0
    return Distribution(
        minimum,
        maximum,
        # The outer bins reach as far as there are values.
        np.clip(low[held], minimum, maximum),
        np.clip(high[held], minimum, maximum),
        mass[held],
    )
