"""What is asked of an export, checked before anything slow begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from edgeconv.bundle import Format, IoType, Layout, Precision, Preprocessing
from edgeconv.errors import UsageError
from edgeconv.export.capture import MAX_OPSET, MIN_OPSET
from edgeconv.export.inspect.runtimes import tflite_release
from edgeconv.export.quantize import QuantizeOptions
from edgeconv.export.source import ModelArgs

# Called with the name of a step, how much of it is done and how much there is.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Request:
    """See :func:`edgeconv.export.export` for the fields."""

    model: str | Path | nn.Module
    out: Path
    formats: Sequence[Format]
    precisions: Sequence[Precision]
    calibration: str | Path | None
    calibration_size: int
    input_size: tuple[int, ...] | None
    batch: int | None
    opset: int | None
    layout: Layout
    io: IoType
    weights: Path | None
    pretrained: bool
    model_args: ModelArgs
    preprocessing: Preprocessing | None
    labels: tuple[str, ...] | None
    quantization: QuantizeOptions
    runtime: str | None
    force: bool
    verify: bool
    progress: Progress

    def check(self) -> None:
        """Raise UsageError for a request that cannot be carried out."""
        if not self.formats or not self.precisions:
            raise UsageError("nothing to write: name at least one format and one precision")
        for name, value in (
            ("batch", self.batch),
            ("calibration size", self.calibration_size),
            *(("input size", side) for side in self.input_size or ()),
        ):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")
        if self.input_size is not None and len(self.input_size) not in (1, 2, 3):
            raise UsageError(
                "input size is height and width, or channels, height and width; for sequences "
                "channels and length, for vectors the number of features"
            )
        if self.opset is not None and not MIN_OPSET <= self.opset <= MAX_OPSET:
            raise UsageError(f"opset must be from {MIN_OPSET} to {MAX_OPSET}, not {self.opset}")
        if Precision.INT8 in self.precisions and self.calibration is None:
            raise UsageError(
                "int8 needs calibration data: pass --calibration with a folder of images, .npy or "
                ".npz, or say --calibration random (synthetic: expect no accuracy from it)"
            )
        if self.io is not IoType.FLOAT32 and Precision.INT8 not in self.precisions:
            raise UsageError(f"--io {self.io.value} applies to int8 files; add --precision int8")
        if self.runtime is not None:
            tflite_release(self.runtime)
            if Format.TFLITE not in self.formats:
                raise UsageError(f"--runtime {self.runtime} applies to TFLite; add --format tflite")
