"""Observe activations channel by channel over calibration samples."""

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
    """Of each channel of an activation [N, C, …]: least, greatest and mean squared value."""

    low: Float64
    high: Float64
    mean_square: Float64

    def shifted(self, offset: Float64) -> ChannelStatistics:
        """Of the activation less ``offset``. The mean square becomes that of values spread
        evenly between the bounds.
        """
        low, high = self.low - offset, self.high - offset
        even = (low**2 + low * high + high**2) / 3
        return ChannelStatistics(low, high, np.where(offset == 0, self.mean_square, even))


def observe_channels(
    model: ir.Model, names: Sequence[str], batches: Iterable[Batch]
) -> dict[str, ChannelStatistics]:
    """Statistics of each named float activation. No more than one batch is in memory."""
    tap = IntermediateOutputs(model, names)
    low = [np.array(np.inf)] * len(names)
    high = [np.array(-np.inf)] * len(names)
    power = [np.array(0.0)] * len(names)
    count = 0
    for batch in batches:
        count += 1
        for index, array in enumerate(tap.run(batch)):
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
