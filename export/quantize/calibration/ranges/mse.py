"""The range with the least mean squared error of quantization.

The error of a range has three parts: values beyond it are clipped; values within it are rounded,
which costs step² / 12 each on average (Widrow, 1956); and values within half a step of zero are
rounded to zero, which costs their own square. Low and high end are chosen together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeconv.export.quantize.calibration.ranges.distribution import Distribution, Float64
from edgeconv.export.quantize.parameters import Range

Bool = npt.NDArray[np.bool_]

_STEPS = 255
# Each end shrinks by 4 % per candidate, down to a 300th of the whole. So each end of the chosen
# range is within 2 % of the best one, where the error is flat.
_SHRINKING: Float64 = np.power(0.96, np.arange(140.0))
# Every so many candidates the whole error is computed, to rule out what clips more than that.
_COARSE = 10
# Far more than sums in float64 are off, and far less than any range leaves of the squares.
_SURELY = 1e-10


def mse(values: Distribution) -> Range:
    """Choose the range with the least error."""
    values = values.without_zero()
    if not len(values.mass):
        return Range(values.minimum, values.maximum)
    low, high = _candidates(min(values.minimum, 0.0)), _candidates(max(values.maximum, 0.0))
    clipping = _clipping(values, low, high)
    coarse = np.zeros(clipping.shape, bool)
    coarse[::_COARSE, ::_COARSE] = True
    least = _errors(values, low, high, clipping, coarse).min()
    slack = _SURELY * values.moments(np.array(np.inf))[2]
    tried = clipping <= least + slack
    best = int(np.argmin(_errors(values, low, high, clipping, tried)))
    best_low, best_high = (index[best] for index in np.nonzero(tried))
    return Range(float(low[best_low]), float(high[best_high]))


def _errors(
    values: Distribution, low: Float64, high: Float64, clipping: Float64, chosen: Bool
) -> Float64:
    """The errors of the candidates that are chosen in [low, high], in the order of the rows."""
    rows, columns = np.nonzero(chosen)
    errors: Float64 = clipping[chosen] + _rounding(values, low[rows], high[columns])
    return errors


def _candidates(end: float) -> Float64:
    return end * _SHRINKING if end else np.zeros(1)


def _clipping(values: Distribution, low: Float64, high: Float64) -> Float64:
    """Squared distance of the values beyond [low, high] to it: [low, high]."""
    below, above = values.moments(low), values.moments(high)
    everything = values.moments(np.array([np.inf]))
    under = _squared_distance(below, low)
    over = _squared_distance(everything - above, high)
    return under[:, None] + over[None, :]


def _squared_distance(moments: Float64, point: Float64) -> Float64:
    mass, first, second = moments
    distance: Float64 = np.maximum(second - 2 * point * first + point * point * mass, 0.0)
    return distance


def _rounding(values: Distribution, low: Float64, high: Float64) -> Float64:
    step = (high - low) / _STEPS
    inside = values.moments(high)[0] - values.moments(low)[0]
    left, right = np.maximum(-step / 2, low), np.minimum(step / 2, high)
    mass, _, second = values.moments(right) - values.moments(left)
    error: Float64 = second + np.maximum(inside - mass, 0.0) * step * step / 12
    return error
