"""A distribution of real values: pieces of constant density, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Distribution:
    """A distribution in pieces that ascend and do not overlap.

    Attributes:
        minimum: The least value, exactly.
        maximum: The greatest value, exactly.
        low: The lower end of each piece, [pieces].
        high: The upper end of each piece, [pieces]. A piece without width, such as zero, is a
            single value.
        mass: How many values lie in each piece, evenly spread, [pieces].
    """

    minimum: float
    maximum: float
    low: Float64
    high: Float64
    mass: Float64

    def without_zero(self) -> Distribution:
        """Leave out the values that are exactly zero, which every range represents."""
        held = (self.low != 0) | (self.high != 0)
        return Distribution(
            self.minimum, self.maximum, self.low[held], self.high[held], self.mass[held]
        )

    def quantile(self, share: float) -> float:
        """The value below which ``share`` of the mass lies."""
        cumulative = np.cumsum(self.mass)
        target = share * cumulative[-1]
        piece = min(int(np.searchsorted(cumulative, target)), len(self.mass) - 1)
        inside = 1 - (cumulative[piece] - target) / self.mass[piece]
        return float(self.low[piece] + inside * (self.high[piece] - self.low[piece]))

    def moments(self, upto: Float64) -> Float64:
        """Mass, sum and sum of squares of the values up to each of ``upto``: [3, *upto.shape]."""
        whole = np.searchsorted(self.high, upto, side="right")
        piece = np.minimum(whole, len(self.mass) - 1)
        a, b = self.low[piece], self.high[piece]
        end = np.clip(upto, a, b)
        partial = self.mass[piece] * np.divide(end - a, b - a, out=np.zeros(end.shape), where=b > a)
        partial = np.where(whole < len(self.mass), partial, 0.0)
        cut = partial * _power_means(a, end)
        sums: Float64 = self._cumulative[:, whole] + cut
        return sums

    @cached_property
    def _cumulative(self) -> Float64:
        """Moments of the first 0, 1, 2, … pieces: [3, pieces + 1]."""
        each = self.mass * _power_means(self.low, self.high)
        return np.concatenate([np.zeros((3, 1)), np.cumsum(each, axis=1)], axis=1)


def _power_means(a: Float64, b: Float64) -> Float64:
    """Means of 1, x and x² over evenly spread x in [a, b]."""
    return np.stack([np.ones(a.shape), (a + b) / 2, (a * a + a * b + b * b) / 3])
