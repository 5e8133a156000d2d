"""Figures of the channels of activations over calibration samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.data.samples import Batch
from edgeconv.export.runtimes import IntermediateOutputs

Float64 = npt.NDArray[np.float64]

# The square of the least float32 above zero is 2**-298, so any sum of squares is a whole number of
# these, and Python's integers add such numbers exactly.
_SQUARES = 298


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
        squares: The sum of the squared values of each channel, in units of 2**-298.
        count: How many values of a channel they are from.
    """

    low: Float64
    high: Float64
    squares: tuple[int, ...]
    count: int

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> ChannelSums:
        """The sums of one array [N, C, …] of float32."""
        rows = array.reshape(array.shape[0], array.shape[1], -1)
        squares = [0] * rows.shape[1]
        for row in rows:  # one by one: how NumPy groups a sum must not depend on the other samples
            # In float64 only where it is summed: a copy of the activation would double its memory.
            sums = np.einsum("cs,cs->c", row, row, dtype=np.float64, casting="safe")
            units = np.ldexp(np.where(np.isfinite(sums), sums, 0.0), _SQUARES)
            squares = [total + int(each) for total, each in zip(squares, units, strict=True)]
        return cls(
            rows.min(axis=(0, 2)).astype(np.float64),
            rows.max(axis=(0, 2)).astype(np.float64),
            tuple(squares),
            rows.shape[0] * rows.shape[2],
        )

    def __add__(self, other: ChannelSums) -> ChannelSums:
        return ChannelSums(
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            tuple(mine + others for mine, others in zip(self.squares, other.squares, strict=True)),
            self.count + other.count,
        )

    @property
    def statistics(self) -> ChannelStatistics:
        """The figures."""
        whole = self.count << _SQUARES
        mean_square = np.array([total / whole for total in self.squares])
        return ChannelStatistics(self.low, self.high, mean_square, self.count)


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
