"""Look at activations: their extremes exactly, and counts of their values where they are asked for.

Large activations are counted in part: every s-th value of a sample, with an s that has no divisor
in common with any dimension, so that every channel, row and column is met. Which values are counted
depends on their position alone, neither on chance nor on the order of samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError
from edgeconv.export.quantize.calibration.ranges.histogram import BINS, Histogram, count

# Values of an activation that are counted of each sample. Over 128 samples these are a million, a
# hundred of them beyond the 99.99th percentile.
_COUNTED = 1 << 13

Float32 = npt.NDArray[np.float32]


class Observer:
    """Knows the histogram of each named activation.

    Args:
        batch: samples in a batch, the first dimension of an activation of that length.
        counting: whether the counts are asked for, or the extremes alone.
    """

    def __init__(self, names: Sequence[str], *, batch: int, counting: bool) -> None:
        bins = BINS if counting else 0
        self._batch, self._counting = batch, counting
        self._seen = 0
        self._histograms = {
            name: Histogram(np.inf, -np.inf, 1, np.zeros(bins, np.int64)) for name in names
        }

    def histogram(self, name: str) -> Histogram:
        return self._histograms[name]

    def add(self, batches: Sequence[Sequence[Float32]]) -> None:
        """Take in the activations, in the order of the names, of each batch.

        Raises:
            DataError: one is NaN or infinite.
        """
        for index, (name, histogram) in enumerate(self._histograms.items()):
            arrays = [batch[index] for batch in batches]
            whole = arrays[0] if len(arrays) == 1 else np.stack(arrays)
            low, high = float(whole.min()), float(whole.max())
            if not math.isfinite(low) or not math.isfinite(high):
                self._refuse(name, arrays)
            histogram.minimum = min(histogram.minimum, low)
            histogram.maximum = max(histogram.maximum, high)
            if self._counting:
                shape = arrays[0].shape
                samples = self._batch if shape and shape[0] == self._batch else 1
                histogram.weight = stride(shape[1:] if samples > 1 else shape)
                rows = whole.reshape(len(arrays) * samples, -1)[:, :: histogram.weight]
                histogram.counts += count(np.ascontiguousarray(rows))
        self._seen += len(batches)

    def _refuse(self, name: str, arrays: Sequence[Float32]) -> None:
        first = next(i for i, array in enumerate(arrays) if not np.isfinite(array).all())
        raise DataError(
            f"the activation {name!r} is NaN or infinite on calibration batch "
            f"{self._seen + first + 1}; check the network's weights and the data"
        )


def stride(shape: Sequence[int]) -> int:
    """Every how many-th value of an activation of one sample is counted."""
    least = -(-math.prod(shape) // _COUNTED)
    while any(math.gcd(least, side) > 1 for side in shape):
        least += 1
    return max(least, 1)
