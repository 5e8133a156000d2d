"""Statistics of the values of one activation, and its rounding to 8 bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeconv.export.quantize.calibration.observer import stride
from edgeconv.export.quantize.parameters import ActivationParameters

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Statistics:
    """Figures of an activation over samples.

    Attributes:
        low: The least value.
        high: The greatest value.
        inner: The interval that holds 99.9 % of the values.
        channel_spans: The width of the interval that holds zero and the values of a channel, [C].
            It is the median over batches, so that a single outlier does not count.
        clipped: The share of the values outside of what the 8 bits cover.
    """

    low: float
    high: float
    inner: tuple[float, float]
    channel_spans: Float32
    clipped: float

    @property
    def widest_channel(self) -> int:
        """The index of the channel with the largest span."""
        return int(self.channel_spans.argmax())


class Collector:
    """Collects the values of an activation batch by batch; of a large one it keeps only a part."""

    def __init__(self) -> None:
        self._lows: list[Float32] = []
        self._highs: list[Float32] = []
        self._kept: list[Float32] = []

    def add(self, array: Float32) -> None:
        """Add the values of a batch.

        Args:
            array: [N, C, …], or [N, …, C] if it has three dimensions, as in attention.
        """
        channels = array if array.ndim > 1 else array.reshape(1, -1)
        axis = channels.ndim - 1 if channels.ndim == 3 else 1
        others = tuple(i for i in range(channels.ndim) if i != axis)
        self._lows.append(channels.min(axis=others))
        self._highs.append(channels.max(axis=others))
        self._kept.append(array.ravel()[:: stride(array.shape)].copy())

    def finish(self, parameters: ActivationParameters) -> Statistics:
        """Compute the statistics; ``parameters`` are those of the 8-bit activation."""
        lows, highs = np.stack(self._lows), np.stack(self._highs)
        values = np.concatenate(self._kept)
        covered = parameters.range
        outside = (values < covered.low - parameters.scale) | (
            values > covered.high + parameters.scale
        )
        low, high = np.quantile(values, [0.0005, 0.9995])
        return Statistics(
            low=float(lows.min()),
            high=float(highs.max()),
            inner=(float(low), float(high)),
            channel_spans=np.median(np.maximum(highs, 0) - np.minimum(lows, 0), axis=0),
            clipped=float(outside.mean()),
        )
