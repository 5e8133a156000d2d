"""What is asked of an export, and what becomes of it once device and network are known.

A new option of an export is a field of :class:`ExportRequest` with its line in the docstring;
:func:`edgeconv.export.export` takes its arguments from there. On the command line it is one
``click.option`` of the same name in ``edgeconv/cli/export_command.py``. Nothing else repeats it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from edgeconv.arguments import checked_arguments
from edgeconv.bundle import Format, IoType, Layout, OutputKind, Precision, Target
from edgeconv.errors import UsageError
from edgeconv.export.capture.input_shape import (
    FixedArgument,
    InputShape,
    InputSpec,
    check_input_size,
    parse_input,
    parse_size,
    whole_or_size,
)
from edgeconv.export.choices import Choice, Choices, OptionalChoice
from edgeconv.export.data.stated import read_preprocessing
from edgeconv.export.data.there import refuse_unusable
from edgeconv.export.inspect.runtimes import tflite_release
from edgeconv.export.opset import INT16_OPSET, MAX_OPSET, MIN_OPSET
from edgeconv.export.quantize_options import QuantizeOptions
from edgeconv.model_args import ModelArgs
from edgeconv.near_names import did_you_mean
from edgeconv.preprocessing import Preprocessing
from edgeconv.progress import Progress, no_progress
from edgeconv.staging import refuse_occupied

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from edgeconv.export.capture.model_in_memory import InMemory


_ABOUT = ("description", "version", "author", "license")
_PICTURES = ("image", "image:nhwc")

# Arrays, lists, generators and datasets come without a type in common.
Data: TypeAlias = Any


@checked_arguments(
    nested={"quantization": QuantizeOptions, "preprocessing": Preprocessing},
    hints={
        "labels": "pass a list of texts, such as Path('labels.txt').read_text().splitlines()",
        "accuracy_budget": "pass a number: 0.01 is one percentage point of a share such as top-1",
        "max_latency": "pass a number of seconds: 0.033",
        "max_size": "pass a whole number of bytes: 5_000_000",
        "task": "pass a name; a metric of your own is a function in a file: 'metric.py:function'",
        "target": "state its facts in a Target, or probe it: edgeconv.device.facts.target_of(name, "
        "edgeconv.device.open_device(name).probe())",
        "weights": "pass a file, or load them yourself: network.load_state_dict(…)",
    },
    called="export",
)
@dataclass(frozen=True)
class ExportRequest:
    """Everything that is asked of an export.

    Args:
        model: An ``nn.Module`` or ``ExportedProgram``, which stays as it is, an ONNX model in
            memory (``onnx.ModelProto``, ``onnx_ir.Model``, ``torch.onnx.ONNXProgram``), or a model
            specification: a zoo name, ``timm:NAME``, ``torchvision:NAME``,
            ``path/to/file.py:factory``, ``package.module:factory``, ``file.onnx`` or
            ``file.pt2``. A network that is quantized already keeps its scales exactly.
        out: The bundle's folder; by default ``name``, in the current folder. It appears whole, or
            not at all.
        name: What the files are named after; by default the network.
        formats: The formats to write; by default both, or those that ``target`` runs.
        precisions: The precisions to write; by default float32, and int8 where calibration data is
            given. A network that is quantized already (a QDQ ``.onnx`` file, a module that PT2E
            converted) is written in its own precision.
        calibration: A folder or a ``.tar`` of images, ``.npy``, ``.npz``, ``file.py:function`` that
            yields an array (or a tuple of them) per sample, or "random" for synthetic inputs; from
            Python also an array of samples, a dict of arrays by the names of the inputs, a list, a
            generator, a ``Dataset`` or a ``DataLoader``.
        calibration_size: How many of the samples to use. They are chosen with a fixed seed; a
            function gives its first ones.
        input_size: The side of a square, (height, width) or (channels, height, width), where the
            network leaves it open; (channels, length) for a network that begins with a ``Conv1d``,
            (features,) for one on vectors; for any other input ``InputShape``, its whole shape with
            the batch. Four numbers and more are a whole shape, as in (1, 3, 224, 224). Or a text as
            on the command line: "192x160", "1,12,8".
        inputs: Each input by its name, for networks with several inputs or other types, as
            ``InputSpec("ids", (1, 16), "int64")`` or "ids:1,16:int64". "image" gives the files the
            bytes of a picture to take, from 0 to 255, with scale, mean and std inside;
            "image:nhwc" also gives ONNX files the channels last.
        example: What the network is called with, in place of ``inputs``: a tensor or array, a tuple
            of arguments, a dict of keyword arguments, or an ``.npz`` with an array per input.
        dynamic_batch: Whether each file is for every batch size.
        batch: The static batch size, default 1.
        opset: The version of ONNX's operator set, 18 to 23, default 20. A file keeps its own, and
            is raised to 20 where only TFLite is written. Where ``target`` loads neither, it is the
            highest that the target loads.
        layout: The layout of 4-D inputs and outputs of TFLite files. Those of other ranks, and ONNX
            files, keep the network's own.
        io: The element type of the inputs and outputs, in the files that can have it.
        output: What the files of a classifier give: "probabilities" (a Softmax is put behind the
            scores, unless there is one), "label" (the index of the class with the highest score) or
            "logits" (the scores; a network that has a Softmax is refused). By default what the
            network computes.
        weights: ``.safetensors``, ``.pth``, ``.pt``, ``.ckpt``, ``.bin``, ``.pth.tar`` or ``.npz``
            file to load into the network.
        weights_key: Where in that file they are, as in "ema"; by default where they usually are.
        pretrained: Whether to load the weights that are published for a network of the zoo, of
            timm or of torchvision. They are downloaded once.
        model_args: Keyword arguments for the factory.
        cut_outputs: Names of tensors or nodes of the graph that become the outputs, in place of the
            network's own; what is behind them is left out. By default the whole network.
        preprocessing: How images become inputs, as far as it differs from what the network's card
            says: a ``Preprocessing``, a TOML file of its fields, "timm", "torchvision" or "none".
        labels: Class names, stored in the manifest and in the files.
        about: What the files say of the network: "description", "version", "author", "license".
        quantization: How int8 files are made; by default ``QuantizeOptions()``.
        runtime: The release that has to load the TFLite files, as ``tflite-runtime==2.14``.
        target: The device that the files are for. Its runtimes decide what is left open here, and
            what they cannot run is refused. The manifest keeps it.
        min_sqnr: The SQNR in dB that int8 files have to reach, if any; quantization tries harder
            until they do.
        accuracy_budget: How much of the first figure of ``task`` the int8 files may lose on
            ``labeled``, if any; 0.01 is one percentage point of a share such as top-1, and one
            percent of another figure such as an error.
        max_size: How many bytes each int8 file may have, if that is limited.
        max_latency: How long an inference of each int8 file may take, if that is limited, in
            seconds. Only the command line measures.
        search: Whether to search precision by layer: the front of accuracy against cost, of which
            the budgets choose where plain int8 does not meet them.
        labeled: Samples with their classes: a folder with a folder of images for each class, or an
            ``.npz`` with ``x`` and ``y``; from Python also a tuple of both, or a ``Dataset`` or
            ``DataLoader`` of pairs.
        split_outputs: Whether each part of a concatenated output becomes an output by itself.
        task: What accuracy means: a name as ``edgeconv evaluate --task`` takes it.
        truth: What is true of the samples of ``labeled``, if it is not among them.
        force: Whether to replace an existing bundle.
        verify: Whether a file that fails verification is an error; otherwise it is a warning.
        progress: Called with (step, done, total).
    """

    model: str | Path | nn.Module | ExportedProgram | InMemory
    _: KW_ONLY
    out: str | Path | None = None
    name: str | None = None
    formats: Choices[Format] = Choices(Format)
    precisions: Choices[Precision] = Choices(Precision)
    calibration: Data | None = None
    calibration_size: int = 128
    input_size: int | str | tuple[int, ...] | None = None
    inputs: Sequence[InputSpec | FixedArgument | str] = ()
    example: Any = None
    batch: int | None = None
    dynamic_batch: bool = False
    opset: int | None = None
    layout: Choice[Layout] = Choice(Layout, Layout.NHWC)
    io: Choice[IoType] = Choice(IoType, IoType.FLOAT32)
    output: OptionalChoice[OutputKind] = OptionalChoice(OutputKind)
    weights: str | Path | None = None
    weights_key: str | None = None
    pretrained: bool = False
    model_args: ModelArgs | None = None
    cut_outputs: Sequence[str] = ()
    preprocessing: Preprocessing | str | Path | None = None
    labels: Sequence[str] | None = None
    about: Mapping[str, str] | None = None
    quantization: QuantizeOptions | None = None
    runtime: str | None = None
    target: Target | None = None
    min_sqnr: float | None = None
    accuracy_budget: float | None = None
    max_size: int | None = None
    max_latency: float | None = None
    search: bool = False
    labeled: Data | None = None
    split_outputs: bool = False
    task: str = "classification"
    truth: str | Path | None = None
    force: bool = False
    verify: bool = True
    progress: Progress = no_progress

    @property
    def size(self) -> tuple[int, ...] | None:
        """``input_size`` as a tuple: one number is the side of a square.

        Raises:
            UsageError: It is a text of another form than on the command line.
        """
        size = self.input_size
        if isinstance(size, str):
            return parse_size(size)
        if isinstance(size, InputShape) or size is None:
            return size
        return (size, size) if isinstance(size, int) else whole_or_size(size)

    @property
    def least_sqnr(self) -> float | None:
        """The SQNR in dB that int8 files have to reach, if any."""
        if self.min_sqnr is not None or self.quantization is None:
            return self.min_sqnr
        return self.quantization.repair_to

    @property
    def has_budget(self) -> bool:
        """Whether int8 files have to reach something, or are searched for."""
        return self.search or self.is_limited

    @property
    def is_limited(self) -> bool:
        """Whether int8 files have to reach something."""
        limits = (self.least_sqnr, self.accuracy_budget, self.max_size, self.max_latency)
        return any(limit is not None for limit in limits)

    @property
    def stated_inputs(self) -> tuple[InputSpec | FixedArgument, ...]:
        """``inputs``, with those read that are text."""
        stated = [each for each in self.inputs if each not in _PICTURES]
        return tuple(parse_input(each) if isinstance(each, str) else each for each in stated)

    @property
    def takes_pictures(self) -> bool:
        """Whether the files take the bytes of a picture."""
        return any(each in _PICTURES for each in self.inputs)

    @property
    def picture_layout(self) -> Layout | None:
        """The layout of the pictures in every file; None for the network's own in ONNX files."""
        return Layout.NHWC if _PICTURES[1] in self.inputs else None

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
            UsageError: An option is out of its range or lacks another one, ``out`` is occupied, or
                there is no such data.
            DataError: The data is empty or damaged, or has other labels than samples.
        """
        if (self.formats is not None and not self.formats) or not self.float_precisions():
            raise UsageError("nothing to write", hint="name at least one format and one precision")
        for name, value in (
            ("batch", self.batch),
            ("calibration size", self.calibration_size),
            *(("input size", side) for side in self.size or ()),
        ):
            if value is not None and value < 1:
                raise UsageError(
                    f"{name} must be at least 1, not {value}", hint="give a positive number"
                )
        check_input_size(self.size, self.batch)
        self._check_inputs()
        read_preprocessing(self.preprocessing)
        for key in self.about or {}:
            if key not in _ABOUT:
                raise UsageError(
                    f"there is no {key!r} among what a file says of its network",
                    hint=did_you_mean(key, _ABOUT, f"state {', '.join(_ABOUT)}"),
                )
        if self.min_sqnr is not None and not math.isfinite(self.min_sqnr):
            raise UsageError(
                f"min_sqnr is a number of decibels, not {self.min_sqnr}", hint="leave it out"
            )
        if self.accuracy_budget is not None and not 0 <= self.accuracy_budget < 1:
            raise UsageError(
                f"the accuracy budget is a share of all samples, not {self.accuracy_budget}",
                hint="pass 0.01 for one percentage point",
            )
        for name, limit in (("max size", self.max_size), ("max latency", self.max_latency)):
            if limit is not None and not 0 < limit < math.inf:
                raise UsageError(
                    f"the {name} must be more than zero, not {limit}", hint="give a positive number"
                )
        if self.labeled is not None and not self.has_budget:
            raise UsageError(
                "labeled samples decide about a budget, and there is none",
                hint="pass --accuracy-budget too, or measure the files with `edgeconv evaluate`",
            )
        refuse_unusable(self.calibration, self.labeled, self.truth)
        if self.opset is not None and not MIN_OPSET <= self.opset <= MAX_OPSET:
            raise UsageError(
                f"opset must be from {MIN_OPSET} to {MAX_OPSET}, not {self.opset}",
                hint="leave --opset out for the usual one",
            )
        if self.runtime is not None:
            tflite_release(self.runtime)
        if self.task != ExportRequest.task and ":" not in self.task:
            from edgeconv.export.tasks import open_task  # it imports torch

            open_task(self.task)
        self._check_layers()
        if self.is_float:
            self.check_calibration()
        if self.out is not None:  # again later, but before a network is built and a device asked
            refuse_occupied(Path(self.out), force=self.force)

    def _check_layers(self) -> None:
        layers = () if self.quantization is None else self.quantization.layers
        known = self.precisions is not None or self.is_float
        if layers and known and not any(each.calibrated for each in self.float_precisions()):
            raise UsageError(
                "precisions by layer apply to int8 and int16x8 files",
                hint="pass --calibration, and --precision int8",
            )

    def _check_inputs(self) -> None:
        stated = {
            "--input": bool(self.stated_inputs),
            "--example": self.example is not None,
            "--input-size": self.input_size is not None,
        }
        given = [option for option, is_given in stated.items() if is_given]
        if len(given) > 1:
            raise UsageError(
                f"{given[0]} and {given[1]} exclude each other", hint="pass one of them"
            )
        if self.batch is not None and self.dynamic_batch:
            raise UsageError(
                "--batch and --dynamic-batch exclude each other", hint="pass one of them"
            )
        if self.takes_pictures and self.example is not None:
            raise UsageError(
                "--input image and --example exclude each other: an example is normalized already",
                hint="pass --input-size in place of --example",
            )
        if self.batch is not None and given and given != ["--input-size"]:
            raise UsageError(
                f"--batch contradicts {given[0]}, which states whole shapes",
                hint="leave --batch out",
            )

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
        name: What the files are named after.
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
    name: str
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

    @property
    def may_have_int16(self) -> bool:
        """Whether layers of int8 files can have activations of 16 bits."""
        highest = self.asked.opset or self.highest_opset
        return Format.ONNX not in self.formats or min(highest, self.highest_opset) >= INT16_OPSET

    def check(self) -> None:
        """Refuse options that do not go with the formats.

        Raises:
            UsageError: There are such options.
        """
        asked = self.asked
        # A file or module may be quantized, and then has its own precision by default.
        if asked.precisions is not None or asked.is_float:
            self._check_io()
        int16 = Precision.INT16X8 in self.precisions or (
            Precision.INT8 in self.precisions and self.quantization.has_int16
        )
        if int16 and Format.ONNX in self.formats:
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
        if io is IoType.INT16 and self.asked.takes_pictures:
            raise UsageError(
                "a picture has 8 bits, so --input image does not go with --io int16",
                hint="use --io float32",
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
