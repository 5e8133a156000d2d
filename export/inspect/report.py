"""What an inspection reports, as versioned JSON."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from pydantic import Field

from edgeconv.bundle import Format
from edgeconv.versioned import Record, Versioned


class QuantizationKind(str, Enum):
    """What a file computes in."""

    FLOAT = "float"
    INTEGER = "full integer"
    WEIGHTS = "weights only"
    DYNAMIC = "dynamic range"
    MIXED = "mixed"


class TensorReport(Record):
    """An input or output.

    A dimension is a string where it is dynamic; the layout of a bare file is not known. A quantized
    value q stands for the real number scale * (q - zero_point).
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


class OperatorReport(Record):
    """All uses of one operator in one version."""

    name: str
    domain: str = Field(description="ONNX domain, empty for the default one and for TFLite")
    version: int = Field(description="TFLite operator version, or the opset of the ONNX domain")
    count: int
    macs: int | None


class QuantizationReport(Record):
    """How a file is quantized.

    ``quantize`` and ``dequantize`` count the operators that change between float and integer, at
    the borders or inside. ``float_operators`` are those of a quantized file that compute in float.
    """

    kind: QuantizationKind
    activations: tuple[str, ...] = Field(description="integer dtypes of the activations")
    per_channel_weights: int
    per_tensor_weights: int
    quantize: int
    dequantize: int
    float_operators: dict[str, int]


class FileReport(Versioned):
    """One model file.

    ``parameters`` are the elements of the constants that hold real numbers (weights, biases,
    statistics; quantized or not), without scalars, scales, zero points, shapes and axes.
    ``macs`` and ``peak_activation_bytes`` are defined in :mod:`edgeconv.export.inspect.macs` and
    :mod:`edgeconv.export.activation_memory`; None where shapes are missing.
    """

    schema_version: int = 1
    path: str
    format: Format
    producer: str
    opset: int | None = Field(description="ONNX opset of the default domain")
    ir_version: int | None = Field(description="ONNX only")
    bytes: int = Field(description="size of the file and of the external data it names")
    weight_bytes: int = Field(description="size of all constants")
    parameters: int
    parameter_dtypes: dict[str, int] = Field(description="dtype to number of parameters")
    macs: int | None
    peak_activation_bytes: int | None
    inputs: tuple[TensorReport, ...]
    outputs: tuple[TensorReport, ...]
    operators: tuple[OperatorReport, ...]
    quantization: QuantizationReport
    lowest_runtime: str
    notes: tuple[str, ...] = Field(description="what a reader should know about these figures")


def total_macs(operators: Iterable[OperatorReport]) -> int | None:
    """Add up the MACs of all operators; None where those of one are not known."""
    total = 0
    for operator in operators:
        if operator.macs is None:
            return None
        total += operator.macs
    return total


def unknown_macs(operators: Iterable[OperatorReport]) -> list[str]:
    """Write a note for each operator whose MACs are not known."""
    return [
        f"the MACs of {operator.name} are not known"
        for operator in operators
        if operator.macs is None
    ]


def quantization_kind(
    integer_activations: bool,
    integer_weights: bool,
    float_operators: bool,
    dynamic: bool = False,
) -> QuantizationKind:
    """Classify a file; operators that only convert do not count.

    Args:
        integer_activations: Whether any activation is quantized with ranges known in advance.
        integer_weights: Whether any weight is quantized.
        float_operators: Whether any operator computes in float.
        dynamic: Whether activations are quantized while the network runs, by ranges found then.
    """
    if integer_activations:
        return QuantizationKind.MIXED if float_operators else QuantizationKind.INTEGER
    if dynamic:
        return QuantizationKind.DYNAMIC
    return QuantizationKind.WEIGHTS if integer_weights else QuantizationKind.FLOAT


class BundleReport(Versioned):
    """Every model file of a bundle."""

    schema_version: int = 1
    path: str
    model: str
    files: tuple[FileReport, ...]
