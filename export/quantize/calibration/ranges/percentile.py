"""The ranges that leave out the same small share of the values at either end."""

from __future__ import annotations

from edgeconv.export.quantize.calibration.ranges.distribution import Distribution
from edgeconv.export.quantize.parameters import Range

# Over 35 networks that no page reports, trying both gained 0.05 dB more on average than the
# narrower one alone, and lost half as much at worst; on nine trained networks twice as much. Shares
# of 3e-4 and 1e-5 added nothing.
_CLIPPED = 1e-4
_CLIPPED_BY_WIDE = 3e-5


def percentile(values: Distribution) -> Range:
    """Choose the range from the 0.01th to the 99.99th percentile."""
    return _without(values, _CLIPPED)


def wide_percentile(values: Distribution) -> Range:
    """Choose the range from the 0.003th to the 99.997th percentile."""
    return _without(values, _CLIPPED_BY_WIDE)


def _without(values: Distribution, share: float) -> Range:
    return Range(values.quantile(share), values.quantile(1 - share))
