"""Writes a :class:`~edgeconv.export.tflite.graph.Graph` as a flatbuffer.

Constants go from their arrays into the buffer one at a time and are let go, and the buffer is what
is handed out: with the graph that the constants come from, the peak is twice the size of the file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv.export.tflite.graph import (
    STORED,
    Array,
    ChannelQuantization,
    Graph,
    Operator,
    Quantization,
    Tensor,
)
from edgeconv.export.tflite.versions import version

SIGNATURE = "serving_default"
SCHEMA_VERSION = 3
ALIGNMENT = 16  # bytes; kernels read constants with vector loads

OPTIONS = {
    "ADD": "AddOptions",
    "ARG_MAX": "ArgMaxOptions",
    "ARG_MIN": "ArgMinOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CAST": "CastOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "CONV_3D": "Conv3DOptions",
    "CONV_3D_TRANSPOSE": "Conv3DOptions",
    "CUMSUM": "CumsumOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DIV": "DivOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "GELU": "GeluOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "LOCAL_RESPONSE_NORMALIZATION": "LocalResponseNormalizationOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "MUL": "MulOptions",
    "ONE_HOT": "OneHotOptions",
    "PACK": "PackOptions",
    "REDUCE_ALL": "ReducerOptions",
    "REDUCE_ANY": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "REVERSE_SEQUENCE": "ReverseSequenceOptions",
    "SHAPE": "ShapeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions",
    "SPLIT": "SplitOptions",
    "SPLIT_V": "SplitVOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
}


def write(graph: Graph) -> bytearray:
    """The TFLite file of ``graph``, schema version 3, with one signature of the name SIGNATURE.

    The graph loses its constants, so it can be written once.
    """
    tensors = list(_tensors(graph))
    size = sum(_size(tensor) for tensor in tensors) + 512 * len(graph.operators) + 65536
    index = {id(tensor): position for position, tensor in enumerate(tensors)}
    model = schema.ModelT()
    model.version = SCHEMA_VERSION
    model.description = "edgeconv"
    model.operatorCodes, code_of = _operator_codes(graph.operators)
    model.buffers, buffer_of = _buffers(tensors)
    model.metadata = [_metadata(*entry, model.buffers) for entry in graph.metadata.items()] or None
    subgraph = schema.SubGraphT()
    subgraph.name = "main"
    names = _unique_names(graph, tensors)
    subgraph.tensors = [
        _tensor(tensor, names[id(tensor)], buffer_of.get(id(tensor), 0)) for tensor in tensors
    ]
    subgraph.inputs = [index[id(tensor)] for tensor in graph.inputs]
    subgraph.outputs = [index[id(tensor)] for tensor in graph.outputs]
    subgraph.operators = [_operator(operator, code_of, index) for operator in graph.operators]
    model.subgraphs = [subgraph]
    model.signatureDefs = [_signature(graph, index)]

    # A builder that never has to grow never copies what it holds.
    builder = flatbuffers.Builder(size)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    data: bytearray = builder.Bytes
    del data[: builder.Head()]  # moves nothing: a bytearray gives up its beginning in place
    return data


def operator_versions(graph: Graph) -> dict[str, int]:
    """The highest version written of each operator."""
    versions: dict[str, int] = {}
    for operator in graph.operators:
        versions[operator.name] = max(version(operator), versions.get(operator.name, 1))
    return dict(sorted(versions.items()))


def origins(graph: Graph, versions: Mapping[str, int]) -> dict[str, str]:
    """The source of the first operator of each name that has the version in ``versions``."""
    found: dict[str, str] = {}
    for operator in graph.operators:
        if operator.source and version(operator) == versions[operator.name]:
            found.setdefault(operator.name, operator.source)
    return found


def _unique_names(graph: Graph, tensors: Iterable[Tensor]) -> dict[int, str]:
    """A name for each tensor: the runtimes need none, but tools that read files look them up.

    Inputs and outputs keep theirs; of others that share one, all but the first get a number.
    """
    names = {id(tensor): tensor.name for tensor in (*graph.inputs, *graph.outputs)}
    taken = set(names.values())
    latest: dict[str, int] = {}
    for tensor in tensors:
        if id(tensor) in names:
            continue
        name = tensor.name
        while name in taken:
            latest[tensor.name] = latest.get(tensor.name, 1) + 1
            name = f"{tensor.name}_{latest[tensor.name]}"
        names[id(tensor)] = name
        taken.add(name)
    return names


def _tensors(graph: Graph) -> Iterable[Tensor]:
    """Every tensor of the graph once: inputs, then by first use."""
    operators = (
        tensor for operator in graph.operators for tensor in (*operator.inputs, *operator.outputs)
    )
    yield from {
        id(tensor): tensor for tensor in (*graph.inputs, *operators, *graph.outputs)
    }.values()


def _size(tensor: Tensor) -> int:
    """Bytes that a tensor takes in the file, and somewhat more."""
    size = 512 + len(tensor.name)
    if tensor.data is not None:
        size += tensor.data.nbytes
    if isinstance(tensor.quantization, ChannelQuantization):
        size += tensor.quantization.scales.size * (4 + 8)  # float32 scale, int64 zero point
    return size


def _operator_codes(operators: Iterable[Operator]) -> tuple[list[Any], dict[tuple[str, int], int]]:
    codes: list[Any] = []
    code_of: dict[tuple[str, int], int] = {}
    for operator in operators:
        key = (operator.name, version(operator))
        if key in code_of:
            continue
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, operator.name)
        # Codes above this placeholder do not fit the old one-byte field, which then holds it.
        limit = schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
        code.deprecatedBuiltinCode = min(code.builtinCode, limit)
        code.version = key[1]
        code_of[key] = len(codes)
        codes.append(code)
    return codes, code_of


def _buffers(tensors: Iterable[Tensor]) -> tuple[list[Any], dict[int, int]]:
    """The buffers, the first one empty as the schema demands; equal constants share one.

    The arrays move from the tensors into the buffers.
    """
    buffers: list[Any] = [schema.BufferT()]
    alike: dict[Hashable, list[tuple[Array, int]]] = {}
    buffer_of: dict[int, int] = {}
    for tensor in tensors:
        array, tensor.data = tensor.data, None
        if array is None:
            continue
        candidates = alike.setdefault(_glance(array), [])
        for known, position in candidates:
            if np.array_equal(_bits(known), _bits(array)):
                buffer_of[id(tensor)] = position
                break
        else:
            buffer_of[id(tensor)] = len(buffers)
            candidates.append((array, len(buffers)))
            buffers.append(_Buffer(array))
    return buffers, buffer_of


def _metadata(name: str, content: bytes, buffers: list[Any]) -> Any:
    """An entry of the file's metadata, whose content goes into a buffer of its own."""
    entry = schema.MetadataT()
    entry.name, entry.buffer = name, len(buffers)
    buffers.append(_Buffer(np.frombuffer(content, np.uint8)))
    return entry


def _glance(array: Array) -> Hashable:
    """Cheap to compute, equal for equal arrays, and seldom equal for others."""
    first = array[(slice(0, 1),) * (array.ndim - 1)] if array.ndim else array
    return array.dtype, array.shape, first.tobytes()


def _bits(array: Array) -> Array:
    """The elements as integers, for which equal means the same bytes."""
    return array.view(f"u{array.itemsize}")


class _Buffer(schema.BufferT):  # type: ignore[misc]  # the schema's module has no types
    """A buffer that writes its array aligned, without a detour through a Python list."""

    def __init__(self, array: Array) -> None:
        super().__init__()
        self.array: Array | None = array

    def Pack(self, builder: Any) -> int:  # noqa: N802  # the generated schema calls this name
        array, self.array = self.array, None
        assert array is not None, "a buffer is packed once"
        builder.StartVector(1, array.nbytes, ALIGNMENT)
        builder.head -= array.nbytes
        # No variable holds the view: a sampling profiler that holds on to a frame would keep it
        # alive, and what is viewed cannot be shortened.
        np.ndarray(array.shape, array.dtype, builder.Bytes, builder.head)[...] = array
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        offset: int = schema.BufferEnd(builder)
        return offset


def _tensor(tensor: Tensor, name: str, buffer: int) -> Any:
    written = schema.TensorT()
    written.name = name
    written.shape = np.array(tensor.shape, np.int32)
    written.type = STORED[tensor.dtype]
    written.buffer = buffer
    written.hasRank = True
    if tensor.signature is not None:
        written.shapeSignature = np.array(tensor.signature, np.int32)
    written.quantization = _quantization(tensor.quantization)
    return written


def _quantization(quantization: Quantization | ChannelQuantization | None) -> Any:
    if quantization is None:
        return None
    written = schema.QuantizationParametersT()
    if isinstance(quantization, Quantization):
        written.scale = np.array([quantization.scale], np.float32)
        written.zeroPoint = np.array([quantization.zero_point], np.int64)
    else:
        written.scale = quantization.scales
        written.zeroPoint = np.zeros(len(quantization.scales), np.int64)
        written.quantizedDimension = quantization.axis
    return written


def _operator(
    operator: Operator, code_of: dict[tuple[str, int], int], index: dict[int, int]
) -> Any:
    written = schema.OperatorT()
    written.opcodeIndex = code_of[operator.name, version(operator)]
    written.inputs = np.array([index[id(tensor)] for tensor in operator.inputs], np.int32)
    written.outputs = np.array([index[id(tensor)] for tensor in operator.outputs], np.int32)
    if operator.options or operator.name in OPTIONS:
        kind = OPTIONS[operator.name]
        options = getattr(schema, f"{kind}T")()
        for name, value in operator.options.items():
            if not hasattr(options, name):
                raise AttributeError(f"{kind} of {operator.name} has no field {name}")
            setattr(options, name, value)
        written.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        written.builtinOptions = options
    return written


def _signature(graph: Graph, index: dict[int, int]) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey = SIGNATURE
    signature.subgraphIndex = 0
    signature.inputs = [_named(tensor, index) for tensor in graph.inputs]
    signature.outputs = [_named(tensor, index) for tensor in graph.outputs]
    return signature


def _named(tensor: Tensor, index: dict[int, int]) -> Any:
    entry = schema.TensorMapT()
    entry.name = tensor.name
    entry.tensorIndex = index[id(tensor)]
    return entry
