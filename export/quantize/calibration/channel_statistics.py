"""Figures of the channels of activations over calibration samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.data.samples import Batch
from edgeconv.export.quantize.calibration.exact_sums import (
    Int64,
    add_exactly,
    no_sums,
    rounded,
)
from edgeconv.export.runtimes import IntermediateOutputs

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ChannelStatistics:
    """Figures of each channel of an activation [N, C, …].

    Attributes:
        low: The least value, [C].
        high: The greatest value, [C].
        mean_square: The mean of the squared values, [C].
        count: How many values of a channel they are from.
    """

    low: Float64
    high: Float64
    mean_square: Float64
    count: int = 1

    def shifted(self, offset: Float64) -> ChannelStatistics:
        """The figures of the activation less ``offset``, [C].

        The mean square becomes that of values spread evenly between the bounds.
        """
        low, high = self.low - offset, self.high - offset
        even = (low**2 + low * high + high**2) / 3
        mean_square = np.where(offset == 0, self.mean_square, even)
        return ChannelStatistics(low, high, mean_square, self.count)

    def divided(self, factors: Float64) -> ChannelStatistics:
        """The figures of the activation divided by ``factors``, [C]."""
        return ChannelStatistics(
            self.low / factors, self.high / factors, self.mean_square / factors**2, self.count
        )


@dataclass(frozen=True)
class ChannelSamples:
    """Figures of the channels of an activation in some samples.

    Attributes:
        low: The least value, [C].
        high: The greatest value, [C].
        squares: The sum of the squared values in each sample, [N, C].
        count: How many values of a channel they are from.
    """

    low: Float64
    high: Float64
    squares: Float64
    count: int

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> ChannelSamples:
        """The figures of one array [N, C, …] of float32."""
        rows = array.reshape(array.shape[0], array.shape[1], -1)
        sums = np.empty(rows.shape[:2])
        # One by one: how NumPy groups a sum must not depend on the other samples. In float64 only
        # where it is summed: a copy of the activation would double its memory.
        for row, of_row in zip(rows, sums, strict=True):
            np.einsum("cs,cs->c", row, row, dtype=np.float64, casting="safe", out=of_row)
        return cls(
            rows.min(axis=(0, 2)).astype(np.float64),
            rows.max(axis=(0, 2)).astype(np.float64),
            np.where(np.isfinite(sums), sums, 0.0),
            rows.shape[0] * rows.shape[2],
        )

    def __add__(self, other: ChannelSamples) -> ChannelSamples:
        return ChannelSamples(
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            np.concatenate([self.squares, other.squares]),
            self.count + other.count,
        )


@dataclass(frozen=True)
class ChannelSums:
    """What the channels of an activation add up to.

    The sums of parts of the samples add up exactly, however the samples are divided.

    Attributes:
        low: The least value, [C].
        high: The greatest value, [C].
        squares: The exact sum of the squared values of each channel, as
            :func:`edgeconv.export.quantize.calibration.exact_sums.exact` gives it, [places, C].
        count: How many values of a channel they are from.
    """

    low: Float64
    high: Float64
    squares: Int64
    count: int

    def __add__(self, other: ChannelSums) -> ChannelSums:
        return ChannelSums(
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.squares + other.squares,
            self.count + other.count,
        )

    @property
    def statistics(self) -> ChannelStatistics:
        """The figures."""
        return ChannelStatistics(
            self.low, self.high, rounded(self.squares) / self.count, self.count
        )


class RunningSums:
    """What the channels of some activations add up to so far.

    One array holds the sums of all of them: NumPy's calls cost more than their work on each, and
    so does adding up places of which most are empty.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._ends = np.zeros(0, np.int64)
        self._all = ChannelSums(np.zeros(0), np.zeros(0), no_sums(0), 0)

    def add(self, found: Mapping[str, ChannelSamples]) -> None:
        """Add further samples of each activation; the activations are the same every time."""
        if not found:
            return
        low = np.concatenate([each.low for each in found.values()])
        high = np.concatenate([each.high for each in found.values()])
        if not self._counts:
            self._counts = dict.fromkeys(found, 0)
            self._ends = np.cumsum([len(each.low) for each in found.values()])
            self._all = ChannelSums(low, high, no_sums(len(low)), 0)
        squares = np.zeros((max(len(each.squares) for each in found.values()), len(low)))
        for (name, each), end in zip(found.items(), self._ends, strict=True):
            squares[: len(each.squares), end - len(each.low) : end] = each.squares
            self._counts[name] += each.count
        add_exactly(self._all.squares, squares)
        np.minimum(self._all.low, low, out=self._all.low)
        np.maximum(self._all.high, high, out=self._all.high)

    @property
    def sums(self) -> dict[str, ChannelSums]:
        """What each activation adds up to, by its name."""
        found: dict[str, ChannelSums] = {}
        start = 0
        for (name, count), end in zip(self._counts.items(), self._ends.tolist(), strict=True):
            low, high, squares = (
                each[..., start:end].copy()
                for each in (self._all.low, self._all.high, self._all.squares)
            )
            found[name] = ChannelSums(low, high, squares, count)
            start = end
        return found


def observe_channels(
    model: ir.Model, names: Sequence[str], batches: Iterable[Batch]
) -> dict[str, ChannelStatistics]:
    """Observe each named float activation, with a few batches at a time in memory."""
    activations = IntermediateOutputs(model, names)
    running = RunningSums()
    for arrays in activations.run_each(batches):
        running.add(dict(zip(names, map(ChannelSamples.of, arrays), strict=True)))
    return {name: sums.statistics for name, sums in running.sums.items()}
