"""Small TFLite files for the tests, built field by field with the schema that LiteRT carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
}


@dataclass
class Tensor:
    name: str
    shape: Sequence[int]
    dtype: str = "float32"
    data: np.ndarray | None = None
    scales: Sequence[float] = ()
    zero_points: Sequence[int] = ()
    axis: int = 0


@dataclass
class Op:
    name: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    version: int = 1
    options: Any = None
    custom: str | None = None


@dataclass
class File:
    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    inputs: Sequence[int] = ()
    outputs: Sequence[int] = ()

    def model(self) -> schema.ModelT:
        model = schema.ModelT()
        model.version = 3
        model.description = "test"
        model.buffers = [schema.BufferT()]
        model.operatorCodes = []
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.inputs, graph.outputs = list(self.inputs), list(self.outputs)
        graph.tensors = [self._tensor(tensor, model) for tensor in self.tensors]
        graph.operators = [self._operator(op, model) for op in self.ops]
        model.subgraphs = [graph]
        return model

    def pack(self) -> bytes:
        return pack(self.model())

    def _tensor(self, tensor: Tensor, model: schema.ModelT) -> schema.TensorT:
        packed = schema.TensorT()
        packed.name, packed.shape = tensor.name, list(tensor.shape)
        packed.type, packed.buffer = TYPES[tensor.dtype], 0
        if tensor.data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(tensor.data.tobytes(), np.uint8)
            model.buffers.append(buffer)
            packed.buffer = len(model.buffers) - 1
        if tensor.scales:
            quantization = schema.QuantizationParametersT()
            quantization.scale = list(tensor.scales)
            quantization.zeroPoint = list(tensor.zero_points) or [0] * len(tensor.scales)
            quantization.quantizedDimension = tensor.axis
            packed.quantization = quantization
        return packed

    def _operator(self, op: Op, model: schema.ModelT) -> schema.OperatorT:
        code = schema.OperatorCodeT()
        code.version = op.version
        builtin = "CUSTOM" if op.custom else op.name
        code.builtinCode = getattr(schema.BuiltinOperator, builtin)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.customCode = op.custom
        model.operatorCodes.append(code)
        packed = schema.OperatorT()
        packed.opcodeIndex = len(model.operatorCodes) - 1
        packed.inputs, packed.outputs = list(op.inputs), list(op.outputs)
        if op.options is not None:
            kind = type(op.options).__name__.removesuffix("T")
            packed.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            packed.builtinOptions = op.options
        return packed


def pack(model: schema.ModelT) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator_only(name: str, version: int) -> bytes:
    """Build a file that needs one operator version and computes nothing."""
    model = File([Tensor("x", [1])], inputs=[0], outputs=[0]).model()
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = version
    model.operatorCodes = [code]
    return pack(model)
