"""The operators, one file a family. Importing this package registers all of them."""

from edgeconv.export.tflite.ops import (
    activation,
    convolution,
    elementwise,
    indexing,
    matmul,
    normalization,
    padding,
    pooling,
    quantization,
    reduction,
    resize,
    scatter,
    shape,
    transposed_convolution,
    trigonometry,
    unary,
)

__all__ = [
    "activation",
    "convolution",
    "elementwise",
    "indexing",
    "matmul",
    "normalization",
    "padding",
    "pooling",
    "quantization",
    "reduction",
    "resize",
    "scatter",
    "shape",
    "transposed_convolution",
    "trigonometry",
    "unary",
]
