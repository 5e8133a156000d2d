"""How each ONNX operator takes part in full-integer quantization.

The table follows TFLite's 8-bit quantization specification
(https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec): what it
has an integer kernel for, and which of those need the same scale on both sides or a fixed one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from math import prod

import onnx_ir as ir


class Kind(Enum):
    """How scale and zero point of an operator's output relate to those of its inputs."""

    WEIGHTED = auto()  # inputs: activation, constant weight, constant bias; output has its own
    FREE = auto()  # every activation has its own
    SAME = auto()  # all data inputs and outputs share one
    FIXED = auto()  # the output's is set by the specification
    CLAMP = auto()  # Relu, Clip: nothing but a bound on the values


@dataclass(frozen=True)
class FixedRange:
    """Scale and int8 zero point that the specification sets for an output."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class QuantizedOperator:
    """How an operator is quantized.

    Attributes:
        kind: How its scales relate to each other.
        data_inputs: How many of its leading inputs are activations, or their positions; None for
            all.
        fixed: The parameters of its output, where the specification sets them.
    """

    kind: Kind
    data_inputs: int | tuple[int, ...] | None = 1
    fixed: FixedRange | None = None


_PROBABILITY = FixedRange(1 / 256, -128)

OPERATORS: dict[str, QuantizedOperator] = {
    "Conv": QuantizedOperator(Kind.WEIGHTED),
    "ConvTranspose": QuantizedOperator(Kind.WEIGHTED),
    "Gemm": QuantizedOperator(Kind.WEIGHTED),
    "MatMul": QuantizedOperator(Kind.WEIGHTED),
    "Add": QuantizedOperator(Kind.FREE, data_inputs=2),
    "Sub": QuantizedOperator(Kind.FREE, data_inputs=2),
    "Mul": QuantizedOperator(Kind.FREE, data_inputs=2),
    "GlobalAveragePool": QuantizedOperator(Kind.FREE),
    "ReduceMean": QuantizedOperator(Kind.FREE),
    "HardSigmoid": QuantizedOperator(Kind.FREE),
    "HardSwish": QuantizedOperator(Kind.FREE),
    "LeakyRelu": QuantizedOperator(Kind.FREE),
    "Elu": QuantizedOperator(Kind.FREE),
    "Gelu": QuantizedOperator(Kind.FREE),
    "Celu": QuantizedOperator(Kind.FREE),
    "Selu": QuantizedOperator(Kind.FREE),
    "Softplus": QuantizedOperator(Kind.FREE),
    "Mish": QuantizedOperator(Kind.FREE),
    "Swish": QuantizedOperator(Kind.FREE),
    "Abs": QuantizedOperator(Kind.FREE),
    "Neg": QuantizedOperator(Kind.FREE),
    "Max": QuantizedOperator(Kind.FREE, data_inputs=None),
    "Min": QuantizedOperator(Kind.FREE, data_inputs=None),
    "Relu": QuantizedOperator(Kind.CLAMP),
    "Clip": QuantizedOperator(Kind.CLAMP),
    "MaxPool": QuantizedOperator(Kind.SAME),
    "AveragePool": QuantizedOperator(Kind.SAME),
    "Reshape": QuantizedOperator(Kind.SAME),
    "Flatten": QuantizedOperator(Kind.SAME),
    "Identity": QuantizedOperator(Kind.SAME),  # an output that equals another
    "Squeeze": QuantizedOperator(Kind.SAME),
    "Unsqueeze": QuantizedOperator(Kind.SAME),
    "Transpose": QuantizedOperator(Kind.SAME),
    "Expand": QuantizedOperator(Kind.SAME),
    "Slice": QuantizedOperator(Kind.SAME),
    "Split": QuantizedOperator(Kind.SAME),
    "Gather": QuantizedOperator(Kind.SAME),
    "GatherElements": QuantizedOperator(Kind.SAME),
    "GatherND": QuantizedOperator(Kind.SAME),
    "ScatterElements": QuantizedOperator(Kind.SAME, data_inputs=(0, 2)),
    "ScatterND": QuantizedOperator(Kind.SAME, data_inputs=(0, 2)),
    "Pad": QuantizedOperator(Kind.SAME),
    "Resize": QuantizedOperator(Kind.SAME),
    "DepthToSpace": QuantizedOperator(Kind.SAME),
    "SpaceToDepth": QuantizedOperator(Kind.SAME),
    "GlobalMaxPool": QuantizedOperator(Kind.SAME),
    "ReduceMax": QuantizedOperator(Kind.SAME),
    "ReduceMin": QuantizedOperator(Kind.SAME),
    "Tile": QuantizedOperator(Kind.SAME),
    "TopK": QuantizedOperator(Kind.SAME),
    "Concat": QuantizedOperator(Kind.SAME, data_inputs=None),
    "Softmax": QuantizedOperator(Kind.FIXED, fixed=_PROBABILITY),
    "Sigmoid": QuantizedOperator(Kind.FIXED, fixed=_PROBABILITY),
    "Tanh": QuantizedOperator(Kind.FIXED, fixed=FixedRange(1 / 128, 0)),
}

# The output channel's dimension in the weight of each weighted operator; Gemm's depends on transB.
WEIGHT_AXIS = {"Conv": 0, "ConvTranspose": 1, "MatMul": 1}

# TFLite averages so many elements by a convolution, whose result has a scale of its own.
_MOST_AVERAGED = 25


def kind_of(node: ir.Node) -> Kind:
    """How the scales of ``node``, one of :data:`OPERATORS`, relate to each other.

    An average spans less than what it is of, and its kernels rescale it in any case. TFLite's
    AVERAGE_POOL_2D does not, which takes large windows and those that leave padding out.
    """
    if node.op_type != "AveragePool":
        return OPERATORS[node.op_type].kind
    attributes = node.attributes
    window = attributes.get_ints("kernel_shape", ())
    counted = attributes.get_int("count_include_pad", 0) == 1
    whole = counted or not any(attributes.get_ints("pads", ()))
    plain = (
        len(window) <= 2
        and prod(window) <= _MOST_AVERAGED
        and attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
        and not attributes.get_int("ceil_mode", 0)
    )
    return Kind.FREE if plain and whole else Kind.SAME


def without_integer_pool(node: ir.Node) -> str:
    """Why ONNX Runtime's int8 kernel does not compute an AveragePool; empty if it does.

    ceil_mode may add windows that reach beyond padding which counts as elements. The divisor of
    such a window is without the elements beyond (AveragePool, opset 19).
    """
    if node.op_type != "AveragePool" or node.domain != "":
        return ""
    attributes = node.attributes
    if attributes.get_int("ceil_mode", 0) and attributes.get_int("count_include_pad", 0):
        return "ONNX Runtime's int8 kernel divides windows that reach over the edge by too much"
    if set(attributes.get_ints("dilations", ())) - {1}:
        return "ONNX Runtime's int8 kernel has no dilations"
    return ""
