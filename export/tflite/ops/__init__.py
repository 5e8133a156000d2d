"""The operators, one file a family. Importing this package registers all of them."""

from edgeconv.export.tflite.ops import (
    activation,
    convolution,
    elementwise,
    matmul,
    normalization,
    pooling,
    quantization,
    reduction,
    shape,
    unary,
)

__all__ = [
    "activation",
    "convolution",
    "elementwise",
    "matmul",
    "normalization",
    "pooling",
    "quantization",
    "reduction",
    "shape",
    "unary",
]
