"""Options without anything that improves accuracy."""

from __future__ import annotations

from edgeconv.export.quantize_options import QuantizeOptions, RangeMethod

PLAIN = QuantizeOptions(
    range_method=RangeMethod.MINMAX,
    equalization=False,
    bias_absorption=False,
    bias_correction=False,
    repair=False,
)
