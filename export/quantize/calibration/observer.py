"""Observe activations: find their exact extremes and, where needed, count their values.

Of a large activation, only every s-th value of a sample is counted. No dimension has a divisor in
common with s, so that values of every channel, row and column are counted. Which ones depends only
on their position, neither on chance nor on the order of the samples.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError
from edgeconv.export.quantize.calibration.channel_statistics import (
    ChannelSamples,
    ChannelStatistics,
    ChannelSums,
    RunningSums,
)
from edgeconv.export.quantize.calibration.ranges.histogram import BINS, Histogram, count

# So many values of an activation are counted per sample: over 128 samples a million, a hundred of
# them beyond the 99.99th percentile.
_COUNTED = 1 << 13
# Smaller activations of a few batches are observed at once, because NumPy's calls cost more than
# their work. Of larger ones the copy would cost more.
_STACKED_BYTES = 1 << 17

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Observed:
    """What was seen of activations; that of other samples adds to it exactly, in any order.

    Attributes:
        histograms: The extremes and the counts of each activation, by name.
        sums: What the channels of some activations add up to, by name.
    """

    histograms: dict[str, Histogram]
    sums: dict[str, ChannelSums]

    @property
    def channels(self) -> dict[str, ChannelStatistics]:
        """The figures of the channels, by name."""
        return {name: sums.statistics for name, sums in self.sums.items()}

    def __add__(self, other: Observed) -> Observed:
        names = self.sums.keys() | other.sums.keys()
        return Observed(
            {name: mine + other.histograms[name] for name, mine in self.histograms.items()},
            {name: _sum(self.sums.get(name), other.sums.get(name)) for name in sorted(names)},
        )


def _sum(a: ChannelSums | None, b: ChannelSums | None) -> ChannelSums:
    """Add up two parts, of which one may be empty."""
    if a is None or b is None:
        some = a or b
        assert some is not None
        return some
    return a + b


class Observer:
    """Makes a histogram of each named activation.

    Args:
        names: The activations.
        batch: The number of samples in a batch. An activation whose first dimension has that length
            holds as many samples.
        counting: Whether values are counted; otherwise only extremes are found.
        by_channel: The activations [N, C, …] whose channels are observed one by one.
    """

    def __init__(
        self, names: Sequence[str], *, batch: int, counting: bool, by_channel: Collection[str] = ()
    ) -> None:
        bins = BINS if counting else 0
        self._batch, self._counting, self._by_channel = batch, counting, frozenset(by_channel)
        self._histograms = {
            name: Histogram(np.inf, -np.inf, 1, np.zeros(bins, np.int64)) for name in names
        }
        self._sums = RunningSums()

    @property
    def observed(self) -> Observed:
        """What was observed so far."""
        return Observed(self._histograms, self._sums.sums)

    def histogram(self, name: str) -> Histogram:
        """The histogram of an activation so far."""
        return self._histograms[name]

    def add(
        self, batches: Sequence[Sequence[Float32]], numbers: Sequence[int] | None = None
    ) -> None:
        """Observe the activations of some batches, each in the order of the names.

        Args:
            batches: The activations.
            numbers: The number of each batch, for messages.

        Raises:
            DataError: An activation is NaN or infinite.
        """
        channels: dict[str, ChannelSamples] = {}
        for index, (name, histogram) in enumerate(self._histograms.items()):
            arrays = [batch[index] for batch in batches]
            shape = arrays[0].shape
            stacks = len(arrays) > 1 and arrays[0].nbytes <= _STACKED_BYTES
            for whole in [np.stack(arrays)] if stacks else arrays:
                if name in self._by_channel:
                    each = ChannelSamples.of(whole.reshape(-1, *shape[1:]))
                    channels[name] = channels[name] + each if name in channels else each
                    low, high = float(each.low.min()), float(each.high.max())
                else:
                    low, high = float(whole.min()), float(whole.max())
                if not math.isfinite(low) or not math.isfinite(high):
                    _refuse(name, arrays, numbers or range(1, len(arrays) + 1))
                histogram.minimum = min(histogram.minimum, low)
                histogram.maximum = max(histogram.maximum, high)
                if self._counting:
                    samples = self._batch if shape and shape[0] == self._batch else 1
                    histogram.weight = stride(shape[1:] if samples > 1 else shape)
                    rows = whole.reshape(-1, math.prod(shape) // samples)[:, :: histogram.weight]
                    histogram.counts += count(np.ascontiguousarray(rows))
        self._sums.add(channels)


def _refuse(name: str, arrays: Sequence[Float32], numbers: Sequence[int]) -> None:
    first = next(i for i, array in enumerate(arrays) if not np.isfinite(array).all())
    raise DataError(
        f"the activation {name!r} is NaN or infinite on calibration batch {numbers[first]}",
        hint="check the network's weights and the data; fill masks with a finite number such as "
        "-1e4, or pass --precision float32: quantized files have no infinity",
    )


def stride(shape: Sequence[int]) -> int:
    """The distance between counted values in an activation of one sample, of this shape."""
    least = -(-math.prod(shape) // _COUNTED)
    while any(math.gcd(least, side) > 1 for side in shape):
        least += 1
    return max(least, 1)
