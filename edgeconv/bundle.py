"""What an export leaves on disk: a folder of model files, and ``manifest.json`` to describe it.

The manifest is versioned JSON. A bundle is written whole or not at all; see ``staging.py``.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import re
from enum import Enum
from pathlib import Path, PurePosixPath

from pydantic import Field, field_validator, model_validator

from edgeconv.arguments import StatedRecord
from edgeconv.errors import BundleError, UsageError
from edgeconv.model_args import Scalar
from edgeconv.near_names import near_paths
from edgeconv.preprocessing import Preprocessing
from edgeconv.units import format_bytes
from edgeconv.verification import Verification
from edgeconv.versioned import FileBytes, Record, Versioned, refuse_twice

MANIFEST_NAME = "manifest.json"
REFERENCE_NAME = "reference.npz"
SUMS_NAME = "SHA256SUMS"
RANGES_NAME = "calibration.json"
RUN_NAME = "run.py"
PICTURES_NAME = "pictures.py"
RUNTIME_NAME = "runtime.py"
NATIVE_NAME = "run.cc"
NATIVE_PICTURES_NAME = "picture.h"
NATIVE_RUNTIME_NAME = "litert.h"
LABELS_NAME = "labels.txt"
BUILD_NAME = "CMakeLists.txt"
README_NAME = "README.md"
# The fields of a manifest that say what was exported, and with what.
PROVENANCE = (
    *("edgeconv_version", "model", "model_args", "weights_sha256", "inputs", "outputs"),
    *("preprocessing", "labels", "tools", "target", "output", "about"),
)
COMPANION_NAMES = (
    *(BUILD_NAME, LABELS_NAME, NATIVE_NAME, NATIVE_PICTURES_NAME, NATIVE_RUNTIME_NAME),
    *(PICTURES_NAME, README_NAME, RUN_NAME, RUNTIME_NAME),
)
RECIPE_NAME = "recipe.toml"
EDITABLE_NAMES = (*COMPANION_NAMES, RANGES_NAME, RECIPE_NAME)
"""Texts of a bundle, which people edit; the other files are never edited, only damaged."""
# Share of the outputs of two int8 files that lie within one output step when the files agree:
# runtimes round the same integers differently, so a tenth of the outputs may differ by one.
MIN_WITHIN_ONE_STEP = 0.99


class Format(str, Enum):
    """The format of a model file."""

    ONNX = "onnx"
    TFLITE = "tflite"


class Precision(str, Enum):
    """What a file computes in.

    ``float16`` has weights of half the size. ``int8-dynamic`` has int8 weights, and quantizes the
    activations while it runs, by what it then sees of them. ``int8`` is full integer, calibrated
    on data, and nothing less; ``int16x8`` is the same with activations of 16 bits.
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8_DYNAMIC = "int8-dynamic"
    INT8 = "int8"
    INT16X8 = "int16x8"

    @property
    def calibrated(self) -> bool:
        """Whether the scales of activations stand in the file."""
        return self in (Precision.INT8, Precision.INT16X8)


class Layout(str, Enum):
    """Order of the dimensions of a 4-D input or output: batch, channels, height, width."""

    NCHW = "nchw"
    NHWC = "nhwc"


class IoType(str, Enum):
    """Element type of the inputs and outputs.

    float32 is possible everywhere, float16 in float16 ONNX files, int8 and uint8 in int8 files,
    int16 in int16x8 files.
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"

    def fits(self, precision: Precision) -> bool:
        """Whether files of ``precision`` can have it."""
        return self is IoType.FLOAT32 or precision in _IO_OF[self]


_IO_OF = {
    IoType.FLOAT16: (Precision.FLOAT16,),
    IoType.INT8: (Precision.INT8,),
    IoType.UINT8: (Precision.INT8,),
    IoType.INT16: (Precision.INT16X8,),
}


OPEN = -1
"""Stands for a size that only a run of the network knows."""
_MOST_SIZE = 2**31 - 1  # of one dimension, as TFLite counts
# The numbers of NumPy and of ml_dtypes. Other types, such as "O" of any object, are not computed.
_ELEMENT = re.compile(r"bool|u?int[0-9]{1,2}|b?float[0-9]{1,2}(_[a-z0-9]+)?|complex(64|128)")


class TensorInfo(Record):
    """An input or output.

    A size is -1 where it depends on the data, or on the batch of a file for every batch.
    ``scale`` and ``zero_point`` are set where the elements are quantized values:
    real = scale * (quantized - zero_point).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: Layout | None = None
    scale: float | None = None
    zero_point: int | None = None


def _refuse_impossible(info: TensorInfo) -> None:
    """Raise ValueError for an input or output that no file can have."""
    if not all(OPEN <= size <= _MOST_SIZE for size in info.shape):
        raise ValueError(f"{info.name} cannot have the shape {list(info.shape)}")
    if not _ELEMENT.fullmatch(info.dtype):
        raise ValueError(f"{info.name} has the type {info.dtype!r}, which is not one of numbers")
    if info.scale is not None and not (info.scale > 0 and math.isfinite(info.scale)):
        raise ValueError(f"{info.name} cannot have the scale {info.scale}")


class OutputKind(str, Enum):
    """What a classifier's files give.

    That is the scores, probabilities, the index of the best class, or the indices of the five best
    classes, the best first, and their probabilities.
    """

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LABEL = "label"
    TOP5 = "top5"


class AccuracyStep(Record):
    """A range method or a pass that was tried for the accuracy of int8.

    ``gain_db`` is its mean gain per sample over samples that it was not fitted to, and that mean
    is uncertain by ``uncertainty_db`` (90 % confidence, one-sided). Where the mean gains beyond
    chance, and something loses too much for it to be kept, ``loss_db`` is how much over all samples
    together, and ``losing_output`` which output or part of one it is; None where that is all of
    them together. ``refit_loss_db`` is what the typical sample loses by a range method that gained
    so, once it is fitted to all samples.
    """

    name: str
    gain_db: float
    uncertainty_db: float
    kept: bool
    losing_output: str | None = None
    loss_db: float | None = None
    refit_loss_db: float | None = None


class LayerPrecision(Record):
    """What the layers ``nodes`` are made of in int8 files, by the user's rule for ``name``."""

    name: str
    precision: str
    weights: str
    activations: str
    nodes: tuple[str, ...]


class Calibration(Record):
    """Where the ranges of the int8 files come from.

    ``sha256`` is over the network's inputs as float32 bytes in the order used. ``outlying`` are
    samples that stand out so much that they were left out, and ``held_out`` samples were held back
    for verification, so that its figures are of samples that calibration did not see. ``steps`` are
    what was tried for accuracy, in order, and ``layers`` the user's precisions by layer.
    """

    source: str
    synthetic: bool
    samples: int
    names: tuple[str, ...]
    skipped: tuple[str, ...]
    sha256: str
    method: str
    outlying: tuple[str, ...] = ()
    held_out: int = 0
    steps: tuple[AccuracyStep, ...] = ()
    layers: tuple[LayerPrecision, ...] = ()


class Artifact(Record):
    """One model file."""

    path: str
    format: Format
    precision: Precision
    bytes: FileBytes
    sha256: str
    opset: int | None
    operators: dict[str, int] = Field(description="operator name to version, TFLite only")
    lowest_runtime: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    float_fallback: tuple[str, ...] = Field(
        description="operators of a quantized file that run in float, each with its reason"
    )
    tables: tuple[str, ...] = Field(
        default=(), description="those of a TFLite file that XNNPACK alone spares from it"
    )
    verification: Verification | None

    @field_validator("path")
    @classmethod
    def _inside_the_bundle(cls, path: str) -> str:
        parts = PurePosixPath(path)
        if parts.is_absolute() or len(parts.parts) != 1 or path in (".", ".."):
            raise ValueError("an artifact's path is a plain file name")
        return path


class Target(StatedRecord):
    """A device that files are made for, as its probe reported it.

    ``runtimes`` are the installed releases by package name (``onnxruntime``, ``ai-edge-litert``,
    ``tflite-runtime``), of the Python that runs files there; ``unusable`` has the installed ones
    that do not work, and why. ``bits`` are those of its programs, which may be 32 under a 64-bit
    kernel; ``features`` are what its cores have for inference, such as "dot product".
    """

    device: str
    architecture: str
    bits: int
    features: tuple[str, ...] = ()
    python: str
    runtimes: dict[str, str]
    unusable: dict[str, str] = Field(default_factory=dict)

    @property
    def half_arithmetic(self) -> bool:
        """Whether its cores compute in half precision (``asimdhp``)."""
        return "fp16 arithmetic" in self.features


class Shown(str, Enum):
    """What is made of a network's outputs: labels, a mask, boxes, or the numbers as they are.

    ``LABEL`` is that of a file that gives only the best class.
    """

    CLASSES = "classification"
    LABEL = "label"
    MASK = "segmentation"
    BOXES = "detection"
    OUTPUTS = "outputs"


class Manifest(Versioned):
    """The whole of ``manifest.json``."""

    WHAT = "a manifest of edgeconv export"
    REDO = "export again"
    ERROR = BundleError
    OLDER = (1, 2)

    schema_version: int = 3  # 1 has no checksums beside it, 2 no task
    edgeconv_version: str
    model: str
    model_args: dict[str, Scalar | list[Scalar]]
    weights_sha256: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    reference: str = Field(description="what computed the reference: pytorch or onnxruntime")
    preprocessing: Preprocessing | None
    labels: tuple[str, ...] | None
    task: Shown | None = Field(default=None, description="what run.py makes of the outputs")
    calibration: Calibration | None
    artifacts: tuple[Artifact, ...]
    joined: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="the parts of each output that a concatenation makes"
    )
    reference_sha256: str = Field(description="of reference.npz: inputs and float outputs")
    tools: dict[str, str]
    target: Target | None = Field(default=None, description="the device that it was made for")
    output: OutputKind | None = Field(
        default=None, description="what the files give, where that was asked for"
    )
    classes: int | None = Field(default=None, description="how many labels there are to give")
    about: dict[str, str] = Field(
        default_factory=dict, description="description, version, author and license, as stated"
    )
    provenance_sha256: str | None = Field(
        default=None, description="of what was exported and with what; each file has it, too"
    )

    @model_validator(mode="after")
    def _no_file_twice(self) -> Manifest:
        refuse_twice(artifact.path for artifact in self.artifacts)
        return self

    @model_validator(mode="after")
    def _tensors_can_be(self) -> Manifest:
        infos = [*self.inputs, *self.outputs]
        for artifact in self.artifacts:
            infos += [*artifact.inputs, *artifact.outputs]
        for info in infos:
            _refuse_impossible(info)
        return self

    def provenance(self) -> str:
        """The hash that ties the files to the manifest.

        It is the SHA-256 of the fields ``PROVENANCE`` as JSON in UTF-8, keys sorted, without spaces
        between tokens. What an export finds out later, such as calibration and figures, is not
        among them: the files are written before, and their own hashes are in the manifest.
        """
        fields = self.model_dump(mode="json", include=set(PROVENANCE))
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


class Bundle:
    """A bundle on disk: its folder and its manifest."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    def __repr__(self) -> str:
        lines = [f"Bundle of {self.manifest.model} in {self.path}"]
        lines += ["  " + "  ".join(filter(None, row)) for row in self._rows()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """A table of the files, which notebooks show."""
        cells = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows()
        )
        heads = "".join(f"<th>{head}</th>" for head in ("file", "size", "SQNR", "loads from"))
        title = f"{html.escape(self.manifest.model)} in {html.escape(str(self.path))}"
        return f"<table><caption>{title}</caption><tr>{heads}</tr>{cells}</table>"

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                artifact.path,
                format_bytes(artifact.bytes),
                f"{artifact.verification.sqnr_db:.1f} dB" if artifact.verification else "",
                artifact.lowest_runtime,
            )
            for artifact in self.manifest.artifacts
        ]

    @classmethod
    def load(cls, path: Path) -> Bundle:
        """Read and check a bundle.

        Raises:
            UsageError: there is no bundle at ``path``.
            BundleError: the manifest is damaged, from another schema version, or a file of it is
                missing or changed.
        """
        manifest_path = path / MANIFEST_NAME
        if not manifest_path.is_file():
            raise UsageError(
                f"{path} is not a bundle: it has no {MANIFEST_NAME}",
                hint=near_paths(path, "name a folder that `edgeconv export` wrote"),
            )
        manifest = Manifest.load(manifest_path)
        if not manifest.artifacts:
            raise BundleError(f"{manifest_path} lists no model files", hint="export again")
        bundle = cls(path, manifest)
        for artifact in manifest.artifacts:
            bundle.check(artifact)
        return bundle

    def file(self, artifact: Artifact) -> Path:
        """The path of an artifact on disk."""
        return self.path / artifact.path

    def check(self, artifact: Artifact) -> None:
        """Raise BundleError unless the artifact's file is the one that the manifest describes."""
        path = self.file(artifact)
        if not path.is_file():
            raise BundleError(f"{path} is missing from the bundle", hint="export again")
        if sha256_of(path) != artifact.sha256:
            raise BundleError(f"{path} was changed after the export", hint="export again")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
