"""The versions of ONNX's operator set (ai.onnx) that an export writes."""

from __future__ import annotations

MIN_OPSET = 18  # PyTorch's exporter writes nothing older: asked for 17, it gives 18
MAX_OPSET = 23
DEFAULT_OPSET = 20  # Gelu is an operator since 20; ONNX Runtime reads 20 since 1.17
INT16_OPSET = 21  # QuantizeLinear has int16 since 21
