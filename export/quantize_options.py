"""What a quantization is asked to do; importing it needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ActivationType(str, Enum):
    """How the ONNX file stores 8-bit activations: the same integers, shifted by 128.

    ONNX Runtime fuses uint8 whole on x86 and runs both well on ARM.
    """

    UINT8 = "uint8"
    INT8 = "int8"


class RangeMethod(str, Enum):
    """How the range of an activation follows from what calibration observed of it.

    ``AUTO`` tries the others on the network and its samples.
    """

    AUTO = "auto"
    MINMAX = "minmax"
    PERCENTILE = "percentile"
    MSE = "mse"
    ENTROPY = "entropy"


class Rounding(str, Enum):
    """How weights become integers: to the nearest, or learned layer by layer (AdaRound)."""

    NEAREST = "nearest"
    ADAPTIVE = "adaptive"


@dataclass(frozen=True)
class QuantizeOptions:
    """How int8 files are made; each pass that guards accuracy can be switched off.

    Attributes:
        activation_type: How ONNX files store activations.
        range_method: How calibration chooses the ranges of activations.
        equalization: Whether to even out the ranges of channels across layers, where it helps.
        bias_absorption: Whether to move high biases into the next layer, where it helps.
        bias_correction: Whether to correct the mean error of each channel, where it helps.
        rounding: How weights become integers.
        keep_float: What stays in float: names that `edgeconv blame` prints, of modules, nodes or
            results, or patterns such as ``head.*``.
        float_places: How many more places of the network stay in float, those that lose most; at
            most half of all places.
        integer_outputs: Whether the outputs of the network have to be integers.
    """

    activation_type: ActivationType = ActivationType.UINT8
    range_method: RangeMethod = RangeMethod.AUTO
    equalization: bool = True
    bias_absorption: bool = True
    bias_correction: bool = True
    rounding: Rounding = Rounding.NEAREST
    keep_float: frozenset[str] = frozenset()
    float_places: int = 0
    integer_outputs: bool = False
