"""Figures of the channels of activations over calibration samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.data.samples import Batch
from edgeconv.export.quantize.calibration.exact_sums import Int64, exact, rounded
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

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> ChannelSums:
        """The sums of one array [N, C, …] of float32."""
        rows = array.reshape(array.shape[0], array.shape[1], -1)
        sums = np.empty(rows.shape[:2])
        # One by one: how NumPy groups a sum must not depend on the other samples. In float64 only
        # where it is summed: a copy of the activation would double its memory.
        for row, of_row in zip(rows, sums, strict=True):
            np.einsum("cs,cs->c", row, row, dtype=np.float64, casting="safe", out=of_row)
        return cls(
            rows.min(axis=(0, 2)).astype(np.float64),
            rows.max(axis=(0, 2)).astype(np.float64),
            exact(np.where(np.isfinite(sums), sums, 0.0)),
            rows.shape[0] * rows.shape[2],
        )

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


def observe_channels(
    model: ir.Model, names: Sequence[str], batches: Iterable[Batch]
) -> dict[str, ChannelStatistics]:
    """Observe each named float activation, with a few batches at a time in memory."""
    activations = IntermediateOutputs(model, names)
    found: dict[str, ChannelSums] = {}
    for arrays in activations.run_each(batches):
        for name, array in zip(names, arrays, strict=True):
            each = ChannelSums.of(array)
            found[name] = found[name] + each if name in found else each
    return {name: sums.statistics for name, sums in found.items()}
