"""What is asked of an export, and what becomes of it once device and network are known.

A new option of an export is a field of :class:`ExportRequest` with its line in the docstring;
:func:`edgeconv.export.export` takes its arguments from there. On the command line it is one
``click.option`` of the same name in ``edgeconv/cli/export_command.py``. Nothing else repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.bundle import Format, IoType, Layout, Precision, Preprocessing, Target
from edgeconv.errors import UsageError
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.inspect.runtimes import tflite_release
from edgeconv.export.opset import INT16_OPSET, MAX_OPSET, MIN_OPSET
from edgeconv.export.quantize_options import QuantizeOptions
from edgeconv.progress import Progress, no_progress

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ExportRequest:
    """Everything that is asked of an export.

    Args:
        model: An ``nn.Module`` in eval mode, or a model specification: a zoo name,
            ``path/to/file.py:factory``, ``package.module:factory`` or ``file.onnx``. A network that
            is quantized already keeps its scales exactly.
        out: The bundle's folder; by default the name of the network, in the current folder. It
            appears whole, or not at all.
        formats: The formats to write; by default both, or those that ``target`` runs.
        precisions: The precisions to write; by default float32, and int8 where calibration data is
            given. A network that is quantized already (a QDQ ``.onnx`` file, a module that PT2E
            converted) is written in its own precision.
        calibration: A folder of images, ``.npy``, ``.npz``, ``file.py:function`` that yields an
            array (or a tuple of them) per sample, or "random" for synthetic inputs.
        calibration_size: How many of the samples to use. They are chosen with a fixed seed; a
            function gives its first ones.
        input_size: (height, width) or (channels, height, width), where the network leaves it open;
            (channels, length) for a network that begins with a ``Conv1d``, (features,) for one on
            vectors; for any other input ``InputShape``, its whole shape with the batch.
        batch: The static batch size, default 1.
        opset: The version of ONNX's operator set, 18 to 23, default 20. A file keeps its own, and
            is raised to 20 where only TFLite is written. Where ``target`` loads neither, it is the
            highest that the target loads.
        layout: The layout of 4-D inputs and outputs of TFLite files. Those of other ranks, and ONNX
            files, keep the network's own.
        io: The element type of the inputs and outputs, in the files that can have it.
        weights: ``.safetensors``, ``.pth`` or ``.pt`` file to load into the network.
        pretrained: Whether to load the weights that torchvision publishes for a network of the
            zoo. They are downloaded once.
        model_args: Keyword arguments for the factory.
        preprocessing: How images become inputs; by default what the network's card says.
        labels: Class names, stored in the manifest.
        quantization: How int8 files are made; by default ``QuantizeOptions()``.
        runtime: The release that has to load the TFLite files, as ``tflite-runtime==2.14``.
        target: The device that the files are for. Its runtimes decide what is left open here, and
            what they cannot run is refused. The manifest keeps it.
        force: Whether to replace an existing bundle.
        verify: Whether a file that fails verification is an error; otherwise it is a warning.
        progress: Called with (step, done, total).
    """

    model: str | Path | nn.Module
    _: KW_ONLY
    out: str | Path | None = None
    formats: Sequence[Format] | None = None
    precisions: Sequence[Precision] | None = None
    calibration: str | Path | None = None
    calibration_size: int = 128
    input_size: tuple[int, ...] | None = None
    batch: int | None = None
    opset: int | None = None
    layout: Layout = Layout.NHWC
    io: IoType = IoType.FLOAT32
    weights: str | Path | None = None
    pretrained: bool = False
    model_args: Mapping[str, str | int | float | bool] | None = None
    preprocessing: Preprocessing | None = None
    labels: Sequence[str] | None = None
    quantization: QuantizeOptions | None = None
    runtime: str | None = None
    target: Target | None = None
    force: bool = False
    verify: bool = True
    progress: Progress = no_progress

    @property
    def is_onnx_file(self) -> bool:
        """Whether the network is an ``.onnx`` file, which has an opset of its own."""
        return isinstance(self.model, (str, Path)) and Path(self.model).suffix == ".onnx"

    @property
    def is_float(self) -> bool:
        """Whether the network is a float one for sure.

        A file or a module may be quantized already; what a factory makes is not.
        """
        return isinstance(self.model, str) and not self.model.endswith((".onnx", ".pt2"))

    def float_precisions(self) -> tuple[Precision, ...]:
        """The precisions to write of a float network, in order and each one once."""
        if self.precisions is not None:
            return tuple(dict.fromkeys(self.precisions))
        if self.calibration is None:
            return (Precision.FLOAT32,)
        return (Precision.FLOAT32, Precision.INT8)

    def check(self) -> None:
        """Refuse what cannot be carried out, whatever the device and the network are.

        Raises:
            UsageError: An option is out of its range, or lacks another one.
        """
        if (self.formats is not None and not self.formats) or not self.float_precisions():
            raise UsageError("nothing to write", hint="name at least one format and one precision")
        for name, value in (
            ("batch", self.batch),
            ("calibration size", self.calibration_size),
            *(("input size", side) for side in self.input_size or ()),
        ):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")
        _check_input_size(self.input_size, self.batch)
        if self.opset is not None and not MIN_OPSET <= self.opset <= MAX_OPSET:
            raise UsageError(f"opset must be from {MIN_OPSET} to {MAX_OPSET}, not {self.opset}")
        if self.runtime is not None:
            tflite_release(self.runtime)
        if self.is_float:
            self.check_calibration()

    def check_calibration(self) -> None:
        """Refuse precisions of a float network that need calibration data, where there is none.

        Raises:
            UsageError: There is no calibration data.
        """
        for precision in self.float_precisions():
            if precision.calibrated and self.calibration is None:
                raise UsageError(
                    f"{precision.value} needs calibration data",
                    hint="pass --calibration with a folder of images, .npy or .npz, or with random "
                    "for synthetic inputs, which say nothing about accuracy",
                )


@dataclass(frozen=True)
class ResolvedRequest:
    """A request with everything decided that it left open.

    Attributes:
        asked: The request.
        out: The bundle's folder.
        formats: The formats to write.
        precisions: The precisions to write; those of a float network until :meth:`for_network`.
        quantization: How int8 files are made.
        highest_opset: The limit for ONNX files where no opset is stated.
        runtime: The release that has to load the TFLite files, as ``tflite-runtime==2.14``.
        existing: The precision of a network that is quantized already; None for a float one.
        note: What the device decided, in one line; None without a device.
    """

    asked: ExportRequest
    out: Path
    formats: tuple[Format, ...]
    precisions: tuple[Precision, ...]
    quantization: QuantizeOptions
    highest_opset: int = MAX_OPSET
    runtime: str | None = None
    existing: Precision | None = None
    note: str | None = None

    @property
    def calibrates(self) -> bool:
        """Whether calibration has to find scales."""
        return self.existing is None and any(p.calibrated for p in self.precisions)

    @property
    def half_arithmetic(self) -> bool:
        """Whether float16 TFLite files may be computed in half precision: where the target can."""
        target = self.asked.target
        return target is not None and target.half_arithmetic

    def check(self) -> None:
        """Refuse options that do not go with the formats.

        Raises:
            UsageError: There are such options.
        """
        asked = self.asked
        # A file or module may be quantized, and then has its own precision by default.
        if asked.precisions is not None or asked.is_float:
            self._check_io()
        if Precision.INT16X8 in self.precisions and Format.ONNX in self.formats:
            self._check_int16_opset()
        if self.runtime is not None and Format.TFLITE not in self.formats:
            raise UsageError(
                f"--runtime {self.runtime} applies to TFLite files", hint="add --format tflite"
            )

    def for_network(self, existing: Precision | None) -> ResolvedRequest:
        """The request with the precisions that this network is written in.

        Args:
            existing: The precision of a network that is quantized already; None for a float one.

        Raises:
            UsageError: The request does not go with the network.
        """
        if existing is None:
            self.asked.check_calibration()
            resolved = self
        else:
            self._check_prequantized(existing)
            resolved = replace(self, precisions=(existing,), existing=existing)
        resolved._check_io()
        return resolved

    def _check_prequantized(self, existing: Precision) -> None:
        if existing is Precision.INT16X8 and Format.TFLITE in self.formats:
            raise UsageError(
                "a network that is quantized to int16 already can only become ONNX",
                hint="add --format onnx, or pass the float network",
            )
        already = f"the network is quantized already, to {existing.value}"
        if self.quantization != QuantizeOptions(activation_type=self.quantization.activation_type):
            raise UsageError(
                f"{already}, and keeps its scales",
                hint="leave out --range, --rounding, --effort, the switches of passes and budgets, "
                "or pass the float network",
            )
        others = [p for p in self.asked.precisions or () if p is not existing]
        if others:
            raise UsageError(
                f"{already}; it cannot be written as {others[0].value}",
                hint="pass the float network, or leave --precision out",
            )

    def _check_io(self) -> None:
        io = self.asked.io
        fitting = [precision for precision in Precision if io.fits(precision)]
        if not set(fitting) & set(self.precisions):
            raise UsageError(
                f"--io {io.value} applies to {fitting[0].value} files",
                hint=f"add --precision {fitting[0].value}",
            )
        if io is IoType.FLOAT16 and Format.TFLITE in self.formats:
            raise UsageError(
                "TFLite files take float32 inputs where their weights are float16",
                hint="add --format onnx, or leave --io out",
            )

    def _check_int16_opset(self) -> None:
        opset = self.asked.opset
        if opset is not None and opset < INT16_OPSET:
            raise UsageError(
                f"ONNX has int16 activations since opset {INT16_OPSET}, not in {opset}",
                hint="leave --opset out, or add --format tflite",
            )


def file_stem(spec: str) -> str:
    """A file name from a model specification: the factory's name, or the file's."""
    name = spec.rpartition(":")[2] if ":" in spec else Path(spec).stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._") or "model"


def _check_input_size(size: tuple[int, ...] | None, batch: int | None) -> None:
    if isinstance(size, InputShape):
        if batch not in (None, size.batch):
            raise UsageError(
                f"--batch {batch} contradicts --input-size {','.join(map(str, size))}, which "
                "begins with the batch",
                hint="leave --batch out",
            )
    elif size is not None and len(size) not in (1, 2, 3):
        raise UsageError(
            f"an input size has one to three numbers, not {len(size)}",
            hint="give height and width, or channels, height and width; for sequences channels and "
            "length, for vectors the number of features, and for any other input its whole shape, "
            f"batch first: InputShape({(1, *size)})",
        )
