"""The range that leaves out one value in ten thousand at either end."""

from __future__ import annotations

from edgeconv.export.quantize.calibration.ranges.distribution import Distribution
from edgeconv.export.quantize.parameters import Range

_CLIPPED = 1e-4


def percentile(values: Distribution) -> Range:
    """Choose the range from the 0.01th to the 99.99th percentile."""
    return Range(values.quantile(_CLIPPED), values.quantile(1 - _CLIPPED))
