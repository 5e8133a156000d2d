"""What each precision makes of a float graph; one file per precision, or per part of one."""

from edgeconv.export.precision.prequantized import existing_precision, state_pooled_scales
from edgeconv.export.precision.variant import QuantizedGraph, Variant, make_variant

__all__ = ["QuantizedGraph", "Variant", "existing_precision", "make_variant", "state_pooled_scales"]
