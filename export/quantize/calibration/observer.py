"""Observe activations: find their exact extremes and, where needed, count their values.

Of a large activation, only every s-th value of a sample is counted. No dimension has a divisor in
common with s, so that values of every channel, row and column are counted. Which ones depends only
on their position, neither on chance nor on the order of the samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError
from edgeconv.export.quantize.calibration.ranges.histogram import BINS, Histogram, count

# So many values of an activation are counted per sample: over 128 samples a million, a hundred of
# them beyond the 99.99th percentile.
_COUNTED = 1 << 13

Float32 = npt.NDArray[np.float32]


class Observer:
    """Makes a histogram of each named activation.

    Args:
        names: The activations.
        batch: The number of samples in a batch. An activation whose first dimension has that length
            holds as many samples.
        counting: Whether values are counted; otherwise only extremes are found.
    """

    def __init__(self, names: Sequence[str], *, batch: int, counting: bool) -> None:
        bins = BINS if counting else 0
        self._batch, self._counting = batch, counting
        self._seen = 0
        self._histograms = {
            name: Histogram(np.inf, -np.inf, 1, np.zeros(bins, np.int64)) for name in names
        }

    def histogram(self, name: str) -> Histogram:
        """The histogram of an activation so far."""
        return self._histograms[name]

    def add(self, batches: Sequence[Sequence[Float32]]) -> None:
        """Observe the activations of some batches, each in the order of the names.

        Raises:
            DataError: An activation is NaN or infinite.
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
            f"{self._seen + first + 1}",
            hint="check the network's weights and the data",
        )


def stride(shape: Sequence[int]) -> int:
    """The distance between counted values in an activation of one sample, of this shape."""
    least = -(-math.prod(shape) // _COUNTED)
    while any(math.gcd(least, side) > 1 for side in shape):
        least += 1
    return max(least, 1)
