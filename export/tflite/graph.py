"""A TFLite graph in memory: what the lowering builds and the writer turns into bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

Array = npt.NDArray[Any]
OptionValue = int | float | bool | tuple[int, ...]
Options = dict[str, OptionValue]


TYPES: dict[np.dtype[Any], int] = {
    np.dtype("float32"): schema.TensorType.FLOAT32,
    np.dtype("int8"): schema.TensorType.INT8,
    np.dtype("uint8"): schema.TensorType.UINT8,
    np.dtype("int32"): schema.TensorType.INT32,
    np.dtype("int64"): schema.TensorType.INT64,
    np.dtype("bool"): schema.TensorType.BOOL,
}
"""Element types that a network's values can have, with their codes in the schema."""

STORED: dict[np.dtype[Any], int] = {
    **TYPES,
    np.dtype("float16"): schema.TensorType.FLOAT16,
    np.dtype("int16"): schema.TensorType.INT16,
    np.dtype("uint16"): schema.TensorType.UINT16,
    np.dtype("uint32"): schema.TensorType.UINT32,
}
"""Element types that a tensor of the file can have."""


class Activation(IntEnum):
    """A function that an operator applies to its result before it stores it."""

    NONE = schema.ActivationFunctionType.NONE
    RELU = schema.ActivationFunctionType.RELU
    RELU_N1_TO_1 = schema.ActivationFunctionType.RELU_N1_TO_1
    RELU6 = schema.ActivationFunctionType.RELU6


class Padding(IntEnum):
    """How a window treats the border: SAME pads, so that the result has the size input / stride."""

    SAME = schema.Padding.SAME
    VALID = schema.Padding.VALID


@dataclass(frozen=True)
class Quantization:
    """One scale for a whole tensor: real = scale * (quantized value - zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class WideQuantization(Quantization):
    """That of an int16 activation, while it is lowered as int8: steps of 256 times the size.

    :func:`edgeconv.export.precision.int16x8_tflite.widen_islands` makes int16 of it.
    """

    STEPS: ClassVar[int] = 256

    @classmethod
    def of_int16(cls, scale: float) -> WideQuantization:
        """The one that stands for int16 integers of ``scale``; a power of two is exact."""
        return cls(scale * cls.STEPS, 0)

    @property
    def int16(self) -> Quantization:
        """The quantization of the int16 tensor."""
        return Quantization(self.scale / self.STEPS, 0)


@dataclass(frozen=True, eq=False)
class ChannelQuantization:
    """One float32 scale for each slice along ``axis``, with zero points of 0.

    TFLite states per-channel weights and their biases in this way.
    """

    scales: npt.NDArray[np.float32]
    axis: int


@dataclass(eq=False)
class Tensor:
    """A tensor; ``data`` holds the elements of a constant, in any memory order.

    ``data`` may have more dimensions than ``shape``, where a reshape would copy it: its elements
    in order are the tensor's. ``exact`` are the reals that a quantized constant was rounded from,
    in the same order, where they are known: a finer type holds more of them. ``signature`` is the
    shape with -1 for an open dimension; None where there is none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    data: Array | None = None
    quantization: Quantization | ChannelQuantization | None = None
    exact: Array | None = None
    signature: tuple[int, ...] | None = None

    @property
    def elements(self) -> Array | None:
        """``data`` in the tensor's shape."""
        return None if self.data is None else self.data.reshape(self.shape)


@dataclass(eq=False)
class Operator:
    """A builtin operator, with its name and options as they are called in the schema.

    ``source`` is the ONNX node that it was lowered from, as messages name it; it is empty if there
    is not exactly one.
    """

    name: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    source: str = ""


@dataclass(eq=False)
class Graph:
    """Operators in the order of execution, and what the file says besides.

    Attributes:
        metadata: What runtimes find in the file under a name.
    """

    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    metadata: dict[str, bytes] = field(default_factory=dict)

    def prune(self) -> None:
        """Drop the operators whose results nothing uses."""
        used = {id(tensor) for tensor in self.outputs}
        kept: list[Operator] = []
        for operator in reversed(self.operators):
            if any(id(tensor) in used for tensor in operator.outputs):
                kept.append(operator)
                used.update(id(tensor) for tensor in operator.inputs)
        self.operators = kept[::-1]


class NoIntegerForm(Exception):  # noqa: N818  # an answer, not an error
    """Raised by a lowering in integer mode: run this node in float, for the reason given."""
