"""Observe the channels of activations over calibration samples."""

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
    """

    low: Float64
    high: Float64
    mean_square: Float64

    def shifted(self, offset: Float64) -> ChannelStatistics:
        """The figures of the activation less ``offset``, [C].

        The mean square becomes that of values spread evenly between the bounds.
        """
        low, high = self.low - offset, self.high - offset
        even = (low**2 + low * high + high**2) / 3
        return ChannelStatistics(low, high, np.where(offset == 0, self.mean_square, even))


def observe_channels(
    model: ir.Model, names: Sequence[str], batches: Iterable[Batch]
) -> dict[str, ChannelStatistics]:
    """Observe each named float activation, with one batch at a time in memory."""
    activations = IntermediateOutputs(model, names)
    low = [np.array(np.inf)] * len(names)
    high = [np.array(-np.inf)] * len(names)
    power = [np.array(0.0)] * len(names)
    count = 0
    for batch in batches:
        count += 1
        for index, array in enumerate(activations.run(batch)):
            rows = _by_channel(array)
            low[index] = np.minimum(low[index], rows.min(axis=(0, 2)))
            high[index] = np.maximum(high[index], rows.max(axis=(0, 2)))
            # In float64 only where it is summed: a copy of the activation would double its memory.
            squares = np.einsum("ncs,ncs->c", rows, rows, dtype=np.float64, casting="safe")
            power[index] = power[index] + squares / (rows.shape[0] * rows.shape[2])
    return {
        name: ChannelStatistics(
            low[index].astype(np.float64), high[index].astype(np.float64), power[index] / count
        )
        for index, name in enumerate(names)
    }


def _by_channel(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.reshape(array.shape[0], array.shape[1], -1)
