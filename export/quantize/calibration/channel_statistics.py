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

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> ChannelStatistics:
        """The figures of one array [N, C, …]."""
        rows = array.reshape(array.shape[0], array.shape[1], -1)
        count = rows.shape[0] * rows.shape[2]
        # In float64 only where it is summed: a copy of the activation would double its memory.
        squares = np.einsum("ncs,ncs->c", rows, rows, dtype=np.float64, casting="safe")
        return cls(
            rows.min(axis=(0, 2)).astype(np.float64),
            rows.max(axis=(0, 2)).astype(np.float64),
            squares / count,
            count,
        )

    def __add__(self, other: ChannelStatistics) -> ChannelStatistics:
        count = self.count + other.count
        mean = (self.mean_square * self.count + other.mean_square * other.count) / count
        return ChannelStatistics(
            np.minimum(self.low, other.low), np.maximum(self.high, other.high), mean, count
        )

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


def observe_channels(
    model: ir.Model, names: Sequence[str], batches: Iterable[Batch]
) -> dict[str, ChannelStatistics]:
    """Observe each named float activation, with a few batches at a time in memory."""
    activations = IntermediateOutputs(model, names)
    found: dict[str, ChannelStatistics] = {}
    for arrays in activations.run_each(batches):
        for name, array in zip(names, arrays, strict=True):
            each = ChannelStatistics.of(array)
            found[name] = found[name] + each if name in found else each
    return found
