"""Lowering of ONNX graphs to TFLite files.

:func:`lower` is the whole of it. ``layout`` says how values and stored tensors relate, ``ops``
holds one lowering function an ONNX operator, ``versions`` decides which operator versions are
written, and ``writer`` makes the flatbuffer.
"""

from edgeconv.export.tflite import ops
from edgeconv.export.tflite.lower import LoweredModel, demand_known, lower
from edgeconv.export.tflite.registry import names as supported_operators

__all__ = ["LoweredModel", "demand_known", "lower", "ops", "supported_operators"]
