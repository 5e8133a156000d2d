"""Export a network to ONNX and TFLite files, float32 and int8, each verified on its runtime.

``export`` is loaded when it is first asked for: what only reads files needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeconv.bundle import Bundle, Format, IoType, Layout, Precision, Preprocessing, Target
from edgeconv.export.capture.input_shape import InputShape

if TYPE_CHECKING:
    from edgeconv.export.api import export
    from edgeconv.export.quantize import ActivationType, QuantizeOptions, RangeMethod, Rounding

ExactShape = InputShape  # its name in edgeconv 0.1

__all__ = [
    "ActivationType",
    "Bundle",
    "ExactShape",
    "Format",
    "InputShape",
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

_OF_QUANTIZE = ("ActivationType", "QuantizeOptions", "RangeMethod", "Rounding")


def __getattr__(name: str) -> Any:
    if name == "export":
        from edgeconv.export.api import export

        return export
    if name in _OF_QUANTIZE:
        from edgeconv.export import quantize

        return getattr(quantize, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
