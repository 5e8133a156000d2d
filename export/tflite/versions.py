"""The version that each operator is written with: the lowest that carries its semantics.

A runtime refuses a version above the ones it knows, so a file written too high does not load on
an old device. The rules are those that TensorFlow publishes for its own converter
(``tensorflow/lite/tools/versioning/op_version.cc``), for the types that we write: float32, int8,
uint8, int32, int64 and bool. Rules are tried from the top; version 1 is what remains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgeconv.export.tflite.graph import Operator, Quantization

_INT16 = np.dtype("int16")

Needs = Callable[[Operator], bool]
Rules = Sequence[tuple[int, Needs]]


def version(operator: Operator) -> int:
    """The lowest version of ``operator`` whose definition covers its types and options."""
    found = next((number for number, needs in RULES.get(operator.name, ()) if needs(operator)), 1)
    if any(tensor.dtype == _INT16 for tensor in (*operator.inputs[:3], operator.outputs[0])):
        return max(found, INT16_VERSIONS.get(operator.name, 1))
    return found


def _takes(dtype: str, position: int = 0) -> Needs:
    wanted = np.dtype(dtype)
    return lambda operator: operator.inputs[position].dtype == wanted


def _gives(dtype: str) -> Needs:
    wanted = np.dtype(dtype)
    return lambda operator: operator.outputs[0].dtype == wanted


def _either(*needs: Needs) -> Needs:
    return lambda operator: any(need(operator) for need in needs)


def _set(option: str, default: int | bool = 0) -> Needs:
    return lambda operator: operator.options.get(option, default) != default


def _rank_above(rank: int) -> Needs:
    return lambda operator: max(len(tensor.shape) for tensor in operator.inputs) > rank


def _broadcasts_above_rank_4(operator: Operator) -> bool:
    first, second = operator.inputs[:2]
    shapes = {tensor.signature or tensor.shape for tensor in (first, second)}
    return len(shapes) > 1 and _rank_above(4)(operator)


def _grouped(operator: Operator) -> bool:
    x, weight = operator.inputs[:2]
    return x.shape[-1] != weight.shape[-1]


def _hybrid(operator: Operator) -> bool:
    """float32 activations and int8 weights, with a scale for each output channel."""
    x, weight = operator.inputs[:2]
    return x.dtype == np.dtype("float32") and weight.dtype == np.dtype("int8")


def _rescales_upward(operator: Operator) -> bool:
    """The product of the input scales is at least the output scale."""
    scales = [
        tensor.quantization.scale
        for tensor in (*operator.inputs, *operator.outputs)
        if isinstance(tensor.quantization, Quantization)
    ]
    return len(scales) == 3 and scales[0] * scales[1] / scales[2] >= 1


_int8 = _takes("int8")
_INT8_IS_2: Rules = [(2, _int8)]
_INT8_IS_2_BOOL_IS_3: Rules = [(3, _takes("bool")), (2, _int8)]

RULES: Mapping[str, Rules] = {
    # An integer kernel for int8 came as version 2 of most operators.
    **dict.fromkeys(
        (
            *("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"),
            *("REDUCE_PROD", "ADD", "CONCATENATION", "SOFTMAX", "LOG_SOFTMAX", "LOGISTIC"),
            *("TANH", "RELU6", "MIRROR_PAD", "SPLIT_V", "SQUARED_DIFFERENCE", "DEPTH_TO_SPACE"),
            *("SPACE_TO_DEPTH", "L2_NORMALIZATION", "BATCH_MATMUL", "EXP", "LOG", "SQRT"),
            *("RSQRT", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "EQUAL", "NOT_EQUAL"),
            *("TOPK_V2", "PACK", "GELU"),
        ),
        _INT8_IS_2,
    ),
    "ADD": [(4, _takes("int64")), (2, _int8)],
    "SUB": [(4, _takes("int64")), (3, _broadcasts_above_rank_4), (2, _int8)],
    "MUL": [(5, _takes("int64")), (3, _rescales_upward), (2, _int8)],
    "DIV": [(2, _broadcasts_above_rank_4)],
    "MAXIMUM": [(3, _broadcasts_above_rank_4), (2, _int8)],
    "MINIMUM": [(3, _broadcasts_above_rank_4), (2, _int8)],
    "CONV_2D": [(6, _grouped), (5, _hybrid), (3, _int8)],
    "DEPTHWISE_CONV_2D": [
        (6, _hybrid),
        (3, _int8),
        (2, _either(_set("dilationWFactor", 1), _set("dilationHFactor", 1))),
    ],
    "TRANSPOSE_CONV": [
        (4, _set("fusedActivationFunction")),
        (3, lambda operator: len(operator.inputs) == 4),
        (2, _takes("int8", 1)),
    ],
    "FULLY_CONNECTED": [
        (12, _hybrid),
        (6, lambda operator: len(operator.inputs) == 2),
        (5, _set("keepNumDims")),
        (4, _int8),
    ],
    "TRANSPOSE": [(6, _rank_above(5)), (4, _rank_above(4)), *_INT8_IS_2_BOOL_IS_3],
    "STRIDED_SLICE": [(4, _rank_above(4)), *_INT8_IS_2_BOOL_IS_3],
    "SLICE": [(5, _rank_above(4)), (2, _int8)],
    "PAD": [(5, _takes("bool")), (4, _rank_above(4)), (2, _int8)],
    "PADV2": [(5, _takes("bool")), (4, _rank_above(4)), (2, _int8)],
    "SPLIT": [(3, _takes("int32", 1)), (2, _takes("int8", 1))],
    "GATHER": [(5, _set("batchDims")), *_INT8_IS_2_BOOL_IS_3],
    "UNPACK": [(3, _takes("bool")), (2, _either(_int8, _takes("uint8")))],
    "ABS": [(2, _either(_int8, _takes("uint8")))],
    "RELU": [(2, _either(_int8, _takes("uint8")))],
    "ARG_MAX": _INT8_IS_2_BOOL_IS_3,
    "ARG_MIN": _INT8_IS_2_BOOL_IS_3,
    "REVERSE_V2": [(3, _int8), (2, _takes("bool"))],
    "RESIZE_BILINEAR": [(3, _set("halfPixelCenters")), (2, _int8)],
    "RESIZE_NEAREST_NEIGHBOR": [
        (3, _either(_set("halfPixelCenters"), _set("alignCorners"))),
        (2, _int8),
    ],
    "DEQUANTIZE": [(3, _takes("float16")), (2, _int8)],
    "CAST": [
        (5, _either(_takes("float16"), _gives("float16"))),
        (4, _either(_takes("uint16"), _gives("uint16"))),
        (3, _either(_int8, _gives("int8"))),
        (2, _either(_takes("uint32"), _gives("uint32"))),
    ],
    "TILE": [(3, _int8)],
    # Version 1 of BROADCAST_TO was withdrawn.
    "BROADCAST_TO": [(3, _int8), (2, lambda operator: True)],
    "FLOOR_DIV": [(2, _takes("float32"))],
    "SELECT_V2": [],
    "WHERE": [(2, lambda operator: operator.inputs[0].dtype != np.dtype("bool"))],
}

# What TFLite computes with int16 activations and int8 weights. The 16×8 kernels want zero point 0
# everywhere, a bias of int64, and 1/32768 as the scale of what LOGISTIC, TANH and SOFTMAX give.
# Every operator here was run on LiteRT 2.3 and tflite-runtime 2.14.
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
