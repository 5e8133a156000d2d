"""What the export has to know of each ONNX operator, in one table.

Rewrites, quantization and lowering ask for the operators that have a trait, in place of sets of
their own. A trait states a fact of the ONNX standard; what a runtime or a format can do with an
operator stands where that is decided (:mod:`edgeconv.export.quantize.operators`, the registry of
the TFLite lowering).
"""

from __future__ import annotations

from enum import Flag, auto


class Trait(Flag):
    """A fact of an operator of the standard ONNX domain; an operator may have several."""

    WEIGHTED = auto()
    """Sums products of its input with a weight, to which it may add a bias."""
    RECURRENT = auto()
    """Multiplies by weights in each step of a sequence."""
    NORMALIZES = auto()
    """Subtracts a mean, divides by a deviation and multiplies by a scale."""
    SCALES = auto()
    """Multiplies or divides element by element, by an operand that may be a constant."""
    MULTIPLIES = WEIGHTED | RECURRENT | NORMALIZES | SCALES
    COMMUTES = auto()
    """Gives the same result with its two operands swapped."""
    FUNCTION = auto()
    """Computes each element of a real result from one element of its only data input."""
    POOLS = auto()
    """Reduces a window, or the whole map, of each channel by itself, and all channels alike."""
    MOVES = auto()
    """Only moves, repeats or selects elements of its data inputs."""
    VIEWS = auto()
    """Leaves every element where it is in memory."""
    JOINS = auto()
    """Has any number of data inputs; the others with MOVES or KEEPS_RANGE read data from the first
    input only."""
    KEEPS_RANGE = auto()
    """No element of the result is above the greatest or below the least element of the data inputs
    (or zero, which a pool may count around the map)."""
    NON_NEGATIVE = auto()
    """No element of the result is below zero, whatever the input."""
    HOMOGENEOUS = auto()
    """f(a x) = a f(x) for a > 0, for each channel by itself if its other inputs are constants; a
    Clip only where its lower bound is zero or absent, and it takes its upper bound along."""
    KEEPS_POSITIVE = auto()
    """f(x + c) = f(x) + c for a constant c of each channel, where x and x + c are above zero."""
    SHAPED_BY_SECOND = auto()
    """The elements of its second input are, or multiply, the shape of its result."""


_T = Trait
_NONE = Trait(0)
_VIEW = _T.MOVES | _T.VIEWS | _T.KEEPS_RANGE
_CHANNELS_STAY = _T.HOMOGENEOUS | _T.KEEPS_POSITIVE
_SELECTS = _T.MOVES | _T.KEEPS_RANGE

_TRAITS: dict[str, Trait] = {
    "Conv": _T.WEIGHTED,
    "ConvTranspose": _T.WEIGHTED,
    "Gemm": _T.WEIGHTED,
    "MatMul": _T.WEIGHTED,
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _T.RECURRENT),
    "BatchNormalization": _T.NORMALIZES,
    "GroupNormalization": _T.NORMALIZES,
    "InstanceNormalization": _T.NORMALIZES,
    "LayerNormalization": _T.NORMALIZES,
    "RMSNormalization": _T.NORMALIZES,
    "Add": _T.COMMUTES,
    "Mul": _T.COMMUTES | _T.SCALES,
    "Div": _T.SCALES,
    "PRelu": _T.SCALES | _CHANNELS_STAY,
    "Max": _T.COMMUTES | _T.KEEPS_RANGE | _T.JOINS,
    "Min": _T.COMMUTES | _T.KEEPS_RANGE | _T.JOINS,
    "Relu": _T.FUNCTION | _T.NON_NEGATIVE | _CHANNELS_STAY,
    "LeakyRelu": _T.FUNCTION | _CHANNELS_STAY,
    "Clip": _T.FUNCTION | _T.HOMOGENEOUS,
    **dict.fromkeys(("Abs", "Exp", "HardSigmoid", "Sigmoid"), _T.FUNCTION | _T.NON_NEGATIVE),
    **dict.fromkeys(("Softplus", "Sqrt"), _T.FUNCTION | _T.NON_NEGATIVE),
    **dict.fromkeys(("Ceil", "Celu", "Cos", "Elu", "Erf", "Floor", "Gelu"), _T.FUNCTION),
    **dict.fromkeys(("HardSwish", "Log", "Mish", "Neg", "Reciprocal", "Round"), _T.FUNCTION),
    **dict.fromkeys(("Selu", "Sign", "Sin", "Softsign", "Swish", "Tan", "Tanh"), _T.FUNCTION),
    "Softmax": _T.NON_NEGATIVE,
    "MaxPool": _T.POOLS | _T.KEEPS_RANGE | _CHANNELS_STAY,
    "GlobalMaxPool": _T.POOLS | _T.KEEPS_RANGE | _CHANNELS_STAY,
    # A window may count zeros around the map, which do not move with a constant.
    "AveragePool": _T.POOLS | _T.KEEPS_RANGE | _T.HOMOGENEOUS,
    "GlobalAveragePool": _T.POOLS | _T.KEEPS_RANGE | _CHANNELS_STAY,
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin"), _T.KEEPS_RANGE),
    **dict.fromkeys(("Dropout", "Identity"), _VIEW | _CHANNELS_STAY),
    **dict.fromkeys(("Flatten", "Squeeze", "Unsqueeze"), _VIEW | _CHANNELS_STAY),
    "Reshape": _VIEW | _CHANNELS_STAY | _T.SHAPED_BY_SECOND,
    "Concat": _SELECTS | _T.JOINS,
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth", "Transpose"), _SELECTS),
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "Slice", "Split"), _SELECTS),
    **dict.fromkeys(("Expand", "Tile"), _SELECTS | _T.SHAPED_BY_SECOND),
}


def operators(trait: Trait, *, without: Trait = _NONE) -> frozenset[str]:
    """The operators that have one of the traits in ``trait``, and none of those in ``without``."""
    return frozenset(
        name for name, traits in _TRAITS.items() if traits & trait and not traits & without
    )
