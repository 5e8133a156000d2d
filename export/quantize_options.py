"""What a quantization is asked to do; importing it needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from edgeconv.arguments import checked_arguments
from edgeconv.errors import UsageError
from edgeconv.export.choices import Choice, OptionalChoice
from edgeconv.export.layer_rules import LayerChoices, LayerPrecision, LayerRule

MAX_EFFORT = 3
_EFFORT_OF_RECONSTRUCTION = 2


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
    WIDE_PERCENTILE = "wide-percentile"
    MSE = "mse"
    ENTROPY = "entropy"


class Rounding(str, Enum):
    """How weights become integers: to the nearest, or learned layer by layer (AdaRound)."""

    NEAREST = "nearest"
    ADAPTIVE = "adaptive"


@dataclass(frozen=True)
class InputIntegers:
    """What the int8 integers of an input mean: real = scale * (integer - zero_point)."""

    name: str
    scale: float
    zero_point: int


@checked_arguments(
    hints={
        "keep_float": "pass a set of names, as `edgeconv blame` prints them: {'head.*'}",
        "layers": "read them from a file with edgeconv.export.layer_rules.read_layers(Path(…)), or "
        "pass a list of LayerRule(name=…, precision=…)",
    }
)
@dataclass(frozen=True)
class QuantizeOptions:
    """How int8 files are made; each pass that guards accuracy can be switched on and off.

    A pass that is None is tried from some effort on. What is tried is kept only where it gains on
    samples that it was not fitted to.

    A choice may be stated by its text.

    Attributes:
        activation_type: How ONNX files store activations.
        effort: How much is tried for accuracy. 0 takes min-max ranges as they are; 1 also tries
            other ranges, equalization, bias absorption and bias correction; 2 reconstruction,
            which takes minutes; 3 ever longer adaptive rounding, as long as it gains.
        range_method: How calibration chooses the ranges of activations; AUTO is min-max at effort
            0, and measures which is best from 1 on.
        equalization: Whether to even out the ranges of channels across layers.
        bias_absorption: Whether to move high biases into the next layer.
        bias_correction: Whether to correct the mean error of each channel.
        reconstruction: Whether to fit each layer to what the layers before it put out in integers.
        rounding: How weights become integers.
        keep_float: What stays in float: names that `edgeconv blame` prints, of modules, nodes or
            results, or patterns such as ``head.*``.
        layers: Precision by layer; of the rules that name a layer, the first one counts.
            :func:`edgeconv.export.layer_rules.read_layers` reads them from a file.
        chosen: What ``layers`` comes to in the network; quantization finds it.
        float_places: How many more places of the network stay in float, those that lose most; at
            most half of all places.
        repair: Whether operators stay in float where an output, or a part of a joined one, would
            have less than 10 dB.
        repair_to: The SQNR that ``repair`` is for, in place of 10 dB, at effort 0 as well. An
            export whose int8 files have less on the samples that verify them fails, as one with
            ``min_sqnr`` does.
        integer_outputs: Whether the outputs of the network have to be integers, as its inputs then.
        input_integers: What the integers of an input mean, where calibration is not to find it.
    """

    activation_type: Choice[ActivationType] = Choice(ActivationType, ActivationType.UINT8)
    effort: int = 1
    range_method: Choice[RangeMethod] = Choice(RangeMethod, RangeMethod.AUTO)
    equalization: bool | None = None
    bias_absorption: bool | None = None
    bias_correction: bool | None = None
    reconstruction: bool | None = None
    rounding: OptionalChoice[Rounding] = OptionalChoice(Rounding)
    keep_float: frozenset[str] = frozenset()
    layers: tuple[LayerRule, ...] = ()
    chosen: LayerChoices = field(default_factory=LayerChoices)
    float_places: int = 0
    repair: bool | None = None
    repair_to: float | None = None
    integer_outputs: bool = False
    input_integers: tuple[InputIntegers, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is out of its range."""
        if not 0 <= self.effort <= MAX_EFFORT:
            raise UsageError(
                f"effort is from 0 to {MAX_EFFORT}, not {self.effort}", hint="leave it out for 1"
            )
        if self.float_places < 0:
            raise UsageError(
                f"float_places is at least 0, not {self.float_places}", hint="leave it out for none"
            )

    def decided(self) -> QuantizeOptions:
        """The options with what they leave to the effort."""
        tried = self.effort >= 1
        at_once = self.range_method is RangeMethod.AUTO and not tried
        reconstructs = self.effort >= _EFFORT_OF_RECONSTRUCTION
        rounding = Rounding.ADAPTIVE if self.effort >= MAX_EFFORT else Rounding.NEAREST
        return replace(
            self,
            range_method=RangeMethod.MINMAX if at_once else self.range_method,
            equalization=tried if self.equalization is None else self.equalization,
            bias_absorption=tried if self.bias_absorption is None else self.bias_absorption,
            bias_correction=tried if self.bias_correction is None else self.bias_correction,
            reconstruction=reconstructs if self.reconstruction is None else self.reconstruction,
            rounding=rounding if self.rounding is None else self.rounding,
            repair=tried or self.repair_to is not None if self.repair is None else self.repair,
        )

    @property
    def has_int16(self) -> bool:
        """Whether int8 files shall have layers with activations of 16 bits."""
        return any(rule.precision is LayerPrecision.INT16 for rule in self.layers)

    @property
    def learns(self) -> bool:
        """Whether weights are learned from samples, once it is decided."""
        return bool(self.reconstruction) or self.rounding is Rounding.ADAPTIVE

    @property
    def judges(self) -> bool:
        """Whether anything has to be tried and judged on samples, once it is decided."""
        return (
            self.range_method is RangeMethod.AUTO
            or bool(self.equalization or self.bias_absorption or self.bias_correction)
            or self.learns
            or self.float_places > 0
            or bool(self.repair)
        )
