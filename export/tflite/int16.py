"""What TFLite computes with int16 activations and int8 weights.

The 16×8 kernels want zero point 0 everywhere, a bias of int64, and 1/32768 as the scale of what
LOGISTIC, TANH and SOFTMAX give. The versions are those that brought int16 to an operator
(``tensorflow/lite/tools/versioning/op_version.cc``). Every operator here was run on LiteRT 2.3 and
tflite-runtime 2.14.
"""

from __future__ import annotations

from collections.abc import Mapping

INT16_VERSIONS: Mapping[str, int] = {
    "ADD": 3,
    "AVERAGE_POOL_2D": 3,
    "CONCATENATION": 3,
    "CONV_2D": 4,
    "DEPTHWISE_CONV_2D": 5,
    "DEQUANTIZE": 3,
    "EXPAND_DIMS": 1,
    "FULLY_CONNECTED": 7,
    "GATHER": 4,
    "LEAKY_RELU": 2,
    "LOGISTIC": 3,
    "MAXIMUM": 4,
    "MAX_POOL_2D": 3,
    "MEAN": 3,
    "MINIMUM": 4,
    "MUL": 4,
    "PAD": 3,
    "PADV2": 3,
    "QUANTIZE": 2,
    "RELU": 3,
    "RELU6": 3,
    "RESHAPE": 1,
    "RESIZE_BILINEAR": 4,
    "RESIZE_NEAREST_NEIGHBOR": 4,
    "SLICE": 4,
    "SOFTMAX": 3,
    "SPLIT": 4,
    "SQUEEZE": 1,
    "STRIDED_SLICE": 4,
    "SUB": 5,
    "TANH": 3,
    "TRANSPOSE": 5,
    "TRANSPOSE_CONV": 3,
}
"""Operators with an int16 kernel, each with the version that has it."""
