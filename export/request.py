"""What is asked of an export, checked before anything slow begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from edgeconv.bundle import Format, IoType, Layout, Precision, Preprocessing, Target
from edgeconv.errors import UsageError
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.source import ModelArgs
from edgeconv.export.inspect.runtimes import tflite_release
from edgeconv.export.opset import INT16_OPSET, MAX_OPSET, MIN_OPSET
from edgeconv.export.quantize import QuantizeOptions

# Called with the name of a step, how much of it is done and how much there is.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Request:
    """See :func:`edgeconv.export.export` for the fields. ``highest_opset`` bounds the opset where
    none is stated.
    """

    model: str | Path | nn.Module
    out: Path
    formats: Sequence[Format]
    precisions: Sequence[Precision] | None
    calibration: str | Path | None
    calibration_size: int
    input_size: tuple[int, ...] | None
    batch: int | None
    opset: int | None
    highest_opset: int
    layout: Layout
    io: IoType
    weights: Path | None
    pretrained: bool
    model_args: ModelArgs
    preprocessing: Preprocessing | None
    labels: tuple[str, ...] | None
    quantization: QuantizeOptions
    runtime: str | None
    target: Target | None
    force: bool
    verify: bool
    progress: Progress

    def check(self) -> None:
        """Raise UsageError for a request that cannot be carried out, whatever the network is."""
        precisions = self.precisions if self.precisions is not None else self._default_precisions()
        if not self.formats or not precisions:
            raise UsageError("nothing to write: name at least one format and one precision")
        for name, value in (
            ("batch", self.batch),
            ("calibration size", self.calibration_size),
            *(("input size", side) for side in self.input_size or ()),
        ):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")
        self._check_input_size()
        if self.opset is not None and not MIN_OPSET <= self.opset <= MAX_OPSET:
            raise UsageError(f"opset must be from {MIN_OPSET} to {MAX_OPSET}, not {self.opset}")
        if self._is_float_surely():
            self._refuse_uncalibrated(precisions)
        # A network that arrives quantized has its own precision by default.
        if self.precisions is not None or self._is_float_surely():
            self._check_io(precisions)
        if Precision.INT16X8 in precisions and Format.ONNX in self.formats:
            self._check_int16_opset()
        if self.runtime is not None:
            tflite_release(self.runtime)
            if Format.TFLITE not in self.formats:
                raise UsageError(f"--runtime {self.runtime} applies to TFLite; add --format tflite")

    def _check_input_size(self) -> None:
        size = self.input_size
        if isinstance(size, InputShape):
            if self.batch not in (None, size.batch):
                raise UsageError(
                    f"--batch {self.batch} contradicts --input-size {','.join(map(str, size))}, "
                    "which begins with the batch; leave --batch out"
                )
        elif size is not None and len(size) not in (1, 2, 3):
            raise UsageError(
                "input size is height and width, or channels, height and width; for sequences "
                "channels and length, for vectors the number of features, and for any other input "
                f"its whole shape, batch first: InputShape({(1, *size)})"
            )

    def settled(self, existing: Precision | None) -> Settled:
        """The precisions to write, now that the network is known.

        Args:
            existing: the precision of a network that is quantized already; None for a float one.

        Raises:
            UsageError: the request does not go with the network.
        """
        if existing is None:
            precisions = self.precisions or self._default_precisions()
            self._refuse_uncalibrated(precisions)
        else:
            precisions = self.precisions or (existing,)
            if existing is Precision.INT16X8 and Format.TFLITE in self.formats:
                raise UsageError(
                    "a network that is quantized to int16 already goes into ONNX alone; "
                    "add --format onnx, or pass the float network"
                )
            plain = QuantizeOptions(activation_type=self.quantization.activation_type)
            if self.quantization != plain:
                raise UsageError(
                    f"the network is quantized already, to {existing.value}, and keeps its scales: "
                    "leave out --range, --rounding, the switches of passes and budgets, or pass "
                    "the float network"
                )
            others = [precision for precision in precisions if precision is not existing]
            if others:
                raise UsageError(
                    f"the network is quantized already, to {existing.value}; it cannot be written "
                    f"as {others[0].value}: pass the float network, or leave --precision out"
                )
        self._check_io(precisions)
        return Settled(tuple(dict.fromkeys(precisions)), existing)

    def _default_precisions(self) -> Sequence[Precision]:
        """Of a float network."""
        if self.calibration is None:
            return (Precision.FLOAT32,)
        return (Precision.FLOAT32, Precision.INT8)

    def _is_float_surely(self) -> bool:
        """Networks that are made from code are float ones, unless somebody quantized the module."""
        return isinstance(self.model, str) and not self.model.endswith((".onnx", ".pt2"))

    def _refuse_uncalibrated(self, precisions: Sequence[Precision]) -> None:
        if self.calibration is not None:
            return
        for precision in precisions:
            if precision.calibrated:
                raise UsageError(
                    f"{precision.value} needs calibration data: pass --calibration with a folder "
                    "of images, .npy or .npz, or say --calibration random (synthetic: expect no "
                    "accuracy from it)"
                )

    def _check_io(self, precisions: Sequence[Precision]) -> None:
        fitting = [precision for precision in Precision if self.io.fits(precision)]
        if not set(fitting) & set(precisions):
            raise UsageError(
                f"--io {self.io.value} applies to {fitting[0].value} files; "
                f"add --precision {fitting[0].value}"
            )
        if self.io is IoType.FLOAT16 and Format.TFLITE in self.formats:
            raise UsageError(
                "TFLite files take float32 inputs where their weights are float16; "
                "add --format onnx, or leave --io out"
            )

    def _check_int16_opset(self) -> None:
        if self.opset is not None and self.opset < INT16_OPSET:
            raise UsageError(
                f"ONNX has int16 activations since opset {INT16_OPSET}; "
                f"leave --opset {self.opset} out, or add --format tflite"
            )


@dataclass(frozen=True)
class Settled:
    """What is written of a network; ``existing`` is its precision where it came quantized."""

    precisions: tuple[Precision, ...]
    existing: Precision | None

    @property
    def calibrates(self) -> bool:
        """Whether scales are to be found by calibration."""
        return self.existing is None and any(p.calibrated for p in self.precisions)
