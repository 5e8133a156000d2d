"""Choose the range that 8 bits cover, from what calibration observed of activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeconv.export.quantize.calibration.ranges.distribution import Distribution
from edgeconv.export.quantize.calibration.ranges.entropy import entropy
from edgeconv.export.quantize.calibration.ranges.histogram import Histogram, merge
from edgeconv.export.quantize.calibration.ranges.mse import mse
from edgeconv.export.quantize.calibration.ranges.percentile import percentile, wide_percentile
from edgeconv.export.quantize.parameters import Range
from edgeconv.export.quantize_options import RangeMethod

# Each method chooses a range within a distribution; min-max does without one.
CLIPPING: dict[RangeMethod, Callable[[Distribution], Range]] = {
    RangeMethod.PERCENTILE: percentile,
    RangeMethod.WIDE_PERCENTILE: wide_percentile,
    RangeMethod.MSE: mse,
    RangeMethod.ENTROPY: entropy,
}


def choose_range(method: RangeMethod, activations: Sequence[Histogram]) -> Range:
    """Choose the range of activations that share scale and zero point.

    It lies within their extremes. Min-max takes the extremes and needs no counts.
    """
    if method is not RangeMethod.MINMAX:
        return CLIPPING[method](merge(activations))
    return Range(
        min(activation.minimum for activation in activations),
        max(activation.maximum for activation in activations),
    )
