"""A TFLite flatbuffer read into plain records; everything that it states is checked.

Source of the format: TensorFlow Lite's schema (``schema.fbs``), as LiteRT carries it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgeconv.errors import DataError
from edgeconv.export.inspect.dtypes import size_of

IDENTIFIER = b"TFL3"
_DYNAMIC = -1

# What the generated readers raise when offsets, lengths or types in the file make no sense.
_DAMAGE = (
    struct.error,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
)


def _names(enum: type) -> dict[int, str]:
    return {code: name for name, code in vars(enum).items() if not name.startswith("_")}


_OPERATORS = _names(schema.BuiltinOperator)
_TYPES = {code: name.lower() for code, name in _names(schema.TensorType).items()}


@dataclass(frozen=True)
class Tensor:
    """One tensor; ``stored`` is its number of bytes in the file, None for an activation."""

    name: str
    shape: tuple[int, ...]
    dynamic: tuple[bool, ...]
    dtype: str
    stored: int | None
    buffer: int
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]

    @property
    def elements(self) -> int:
        """The number of elements, with every dynamic dimension as 1."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """The size of all elements."""
        return size_of(self.dtype, self.elements)


@dataclass(frozen=True)
class Operator:
    """One operator; ``custom`` is whether its name is not a builtin's. Missing inputs are -1."""

    name: str
    custom: bool
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    adj_x: bool


@dataclass(frozen=True)
class Graph:
    """A subgraph; the numbers in the operators and borders are indexes of tensors."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Model:
    """The whole file; the first graph is the main one."""

    description: str
    graphs: tuple[Graph, ...]
    buffer_bytes: int


def read_model(data: bytes, where: str) -> Model:
    """Read a flatbuffer; ``where`` is for the message.

    Raises:
        DataError: The bytes are not a whole and consistent TFLite file.
    """
    if data[4:8] != IDENTIFIER:
        raise DataError(
            f"{where} is not a TFLite file: it lacks the identifier TFL3",
            hint="name an .onnx or .tflite file",
        )
    try:
        return _Reader(data).model()
    except _DAMAGE as error:
        # Only the text of a plain ValueError helps; others mention offsets and Python's types.
        reason = "it is cut short, or its parts do not fit together"
        if type(error) is ValueError:
            reason = next(iter(str(error).splitlines()), reason)
        raise DataError(f"{where} is damaged: {reason}", hint="make or copy it again") from error


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._model = schema.Model.GetRootAs(data)
        # Many tables of a file can point at one vector; reading them takes more than its size.
        self._budget = len(data) + 1_000_000

    def model(self) -> Model:
        model = self._model
        if model.Version() != 3:
            raise ValueError(f"schema version {model.Version()} is not 3")
        self._spend(model.BuffersLength() + model.OperatorCodesLength() + model.SubgraphsLength())
        self._stored = [self._buffer(model.Buffers(i)) for i in range(model.BuffersLength())]
        self._codes = [
            self._code(model.OperatorCodes(i)) for i in range(model.OperatorCodesLength())
        ]
        graphs = tuple(self._graph(model.Subgraphs(i)) for i in range(model.SubgraphsLength()))
        if not graphs:
            raise ValueError("it holds no graph")
        return Model(self._text(model.Description()), graphs, sum(self._stored))

    def _spend(self, elements: int) -> None:
        self._budget -= elements
        if self._budget < 0:
            raise ValueError("its parts refer to more than the file can hold")

    def _ints(self, vector: Any) -> tuple[int, ...]:
        """The generated ``...AsNumpy`` gives 0 for a missing vector."""
        if isinstance(vector, int):
            return ()
        self._spend(len(vector))
        return tuple(int(value) for value in vector)

    def _text(self, text: bytes | None) -> str:
        self._spend(len(text or b""))
        return (text or b"").decode("utf-8", errors="replace")

    def _buffer(self, buffer: Any) -> int:
        """Stored bytes; data of large files lies after the flatbuffer, at an offset."""
        if buffer.Offset() > 1:
            start, size = int(buffer.Offset()), int(buffer.Size())
            if start + size > len(self._data):
                raise ValueError("a buffer ends after the file")
            return size
        data = buffer.DataAsNumpy()
        return 0 if isinstance(data, int) else len(data)

    def _code(self, code: Any) -> tuple[str, bool, int]:
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number == schema.BuiltinOperator.CUSTOM:
            return self._text(code.CustomCode()), True, code.Version()
        return _OPERATORS.get(number, f"OPERATOR_{number}"), False, code.Version()

    def _graph(self, graph: Any) -> Graph:
        self._spend(graph.TensorsLength() + graph.OperatorsLength())
        tensors = tuple(self._tensor(graph.Tensors(i)) for i in range(graph.TensorsLength()))
        operators = tuple(
            self._operator(graph.Operators(i), len(tensors)) for i in range(graph.OperatorsLength())
        )
        inputs, outputs = self._ints(graph.InputsAsNumpy()), self._ints(graph.OutputsAsNumpy())
        _check_indexes((*inputs, *outputs), len(tensors), lowest=0)
        return Graph(tensors, operators, inputs, outputs)

    def _tensor(self, tensor: Any) -> Tensor:
        name = self._text(tensor.Name())
        shape = self._ints(tensor.ShapeAsNumpy())
        if any(size < _DYNAMIC for size in shape):
            raise ValueError(f"tensor {name!r} has the shape {shape}")
        signature = self._ints(tensor.ShapeSignatureAsNumpy())
        known = signature if len(signature) == len(shape) else shape
        quantization = tensor.Quantization()
        scales: tuple[float, ...] = ()
        zero_points: tuple[int, ...] = ()
        if quantization is not None and not isinstance(quantization.ScaleAsNumpy(), int):
            self._spend(quantization.ScaleLength())
            scales = tuple(quantization.ScaleAsNumpy().tolist())
            zero_points = self._ints(quantization.ZeroPointAsNumpy())
        if tensor.Buffer() >= len(self._stored):
            raise ValueError(
                f"tensor {name!r} refers to buffer {tensor.Buffer()}, which is not there"
            )
        read = Tensor(
            name=name,
            shape=tuple(1 if size == _DYNAMIC else size for size in shape),
            dynamic=tuple(size == _DYNAMIC for size in known),
            dtype=_TYPES[tensor.Type()],
            stored=self._stored[tensor.Buffer()] or None,
            buffer=tensor.Buffer(),
            scales=scales,
            zero_points=zero_points,
        )
        if read.stored is not None and tensor.Sparsity() is None and read.stored < read.bytes:
            raise ValueError(f"tensor {name!r} takes {read.bytes} bytes and has {read.stored}")
        return read

    def _operator(self, operator: Any, tensors: int) -> Operator:
        name, custom, version = self._codes[operator.OpcodeIndex()]
        inputs = self._ints(operator.InputsAsNumpy())
        outputs = self._ints(operator.OutputsAsNumpy())
        _check_indexes(inputs, tensors, lowest=-1)
        _check_indexes(outputs, tensors, lowest=0)
        adj_x = False
        if name == "BATCH_MATMUL" and operator.BuiltinOptions() is not None:
            options = schema.BatchMatMulOptions()
            options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
            adj_x = bool(options.AdjX())
        return Operator(name, custom, version, inputs, outputs, adj_x)


def _check_indexes(indexes: tuple[int, ...], tensors: int, *, lowest: int) -> None:
    for index in indexes:
        if not lowest <= index < tensors:
            raise ValueError(f"it refers to tensor {index} of {tensors}")
