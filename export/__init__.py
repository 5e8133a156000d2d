"""Export a network to ONNX and TFLite files, float32 and int8, each verified on its runtime.

``export`` is loaded on first use: reading files needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeconv.bundle import Bundle, Format, IoType, Layout, Precision, Target
from edgeconv.export.capture.input_shape import InputShape, InputSpec
from edgeconv.export.quantize_options import (
    ActivationType,
    QuantizeOptions,
    RangeMethod,
    Rounding,
)
from edgeconv.preprocessing import Fit, Interpolation, Preprocessing

if TYPE_CHECKING:
    from edgeconv.export.api import export

ExactShape = InputShape  # its name in edgeconv 0.1

__all__ = [
    "ActivationType",
    "Bundle",
    "ExactShape",
    "Fit",
    "Format",
    "InputShape",
    "InputSpec",
    "Interpolation",
    "IoType",
    "Layout",
    "Precision",
    "Preprocessing",
    "QuantizeOptions",
    "RangeMethod",
    "Rounding",
    "Target",
    "export",
]


def __getattr__(name: str) -> Any:
    if name == "export":
        from edgeconv.export.api import export

        return export
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
