"""A TFLite file cut into files of one operator, because its runtimes do not profile operators."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from edgeconv.device.messages import Tensor
from edgeconv.errors import MeasurementError

NAMES: dict[int, str] = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}
DTYPES: dict[int, str] = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")
}
IDENTIFIER = b"TFL3"
PLAIN_INTEGERS = (schema.TensorType.INT32, schema.TensorType.INT64)


@dataclass(frozen=True)
class Cut:
    """One operator of a file.

    ``data`` is a whole TFLite file. Operators that only differ in the values of their constants
    have the same ``key``. Shapes are NHWC, as in the file.
    """

    name: str
    operator: str
    data: bytes
    key: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def cut(path: Path) -> list[Cut]:
    """Every operator of a TFLite file that has a variable input, in order.

    Raises:
        MeasurementError: the file is damaged, or has several subgraphs.
    """
    try:
        model = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    except Exception as error:  # flatbuffers raises what its indices run into
        raise MeasurementError(
            f"{path} is damaged: {error}", hint="make or copy it again"
        ) from error
    if len(model.subgraphs) != 1:
        raise MeasurementError(
            f"{path} has {len(model.subgraphs)} subgraphs, one can be cut",
            hint="measure the whole file, without --operators",
        )
    cuts = [_cut(model, operator) for operator in model.subgraphs[0].operators]
    return [one for one in cuts if one is not None]


def _cut(model: Any, operator: Any) -> Cut | None:
    graph = model.subgraphs[0]
    used = [index for index in dict.fromkeys([*operator.inputs, *operator.outputs]) if index >= 0]
    place = {index: new for new, index in enumerate(used)} | {-1: -1}
    constants = [index for index in used if _data(model, graph.tensors[index]) is not None]
    variable = [i for i in used if i in list(operator.inputs) and i not in constants]
    if not variable:
        return None
    single = schema.ModelT()
    single.version, single.description = model.version, b"one operator"
    single.operatorCodes = [model.operatorCodes[operator.opcodeIndex]]
    single.buffers = [schema.BufferT()]
    part = schema.SubGraphT()
    part.tensors = []
    for index in used:
        tensor = copy.copy(graph.tensors[index])
        tensor.buffer = 0
        if index in constants:
            tensor.buffer = len(single.buffers)
            single.buffers.append(model.buffers[graph.tensors[index].buffer])
        part.tensors.append(tensor)
    part.inputs = [place[index] for index in variable]
    part.outputs = [place[index] for index in operator.outputs]
    moved = copy.copy(operator)
    moved.opcodeIndex = 0
    moved.inputs = [place[index] for index in operator.inputs]
    moved.outputs = [place[index] for index in operator.outputs]
    part.operators = [moved]
    single.subgraphs = [part]
    return Cut(
        name=_text(graph.tensors[operator.outputs[0]].name),
        operator=_operator_name(single.operatorCodes[0]),
        data=_packed(single),
        key=_key(single),
        inputs=_tensors(graph, operator.inputs),
        outputs=_tensors(graph, operator.outputs),
    )


def _key(single: Any) -> bytes:
    """The file without names, scales and the values of constants.

    Plain integers stay: they are shapes and axes.
    """
    bare = copy.copy(single)
    bare.buffers = [copy.copy(buffer) for buffer in single.buffers]
    part = copy.copy(single.subgraphs[0])
    part.tensors = [copy.copy(tensor) for tensor in part.tensors]
    for tensor in part.tensors:
        scaled = tensor.quantization is not None and tensor.quantization.scale is not None
        data = bare.buffers[tensor.buffer].data
        if data is not None and (scaled or tensor.type not in PLAIN_INTEGERS):
            bare.buffers[tensor.buffer].data = bytes(len(data))
        tensor.name = b""
        if scaled:  # values change with it, the time hardly
            tensor.quantization = copy.copy(tensor.quantization)
            tensor.quantization.scale = [1.0] * len(tensor.quantization.scale)
            tensor.quantization.zeroPoint = [0] * len(tensor.quantization.scale)
    bare.subgraphs = [part]
    return _packed(bare)


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _data(model: Any, tensor: Any) -> Any:
    data = model.buffers[tensor.buffer].data
    return data if data is not None and len(data) else None


def _operator_name(code: Any) -> str:
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == schema.BuiltinOperator.CUSTOM:
        return _text(code.customCode)
    return NAMES.get(number, f"operator {number}")


def _text(name: bytes | None) -> str:
    return (name or b"").decode("utf-8", "replace")


def _tensors(graph: Any, indices: Sequence[int]) -> tuple[Tensor, ...]:
    """The tensors at some indices; an input that is left out has no elements."""
    return tuple(
        Tensor(dtype="", shape=(0,)) if index < 0 else _tensor(graph.tensors[index])
        for index in indices
    )


def _tensor(tensor: Any) -> Tensor:
    shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
    return Tensor(dtype=DTYPES.get(tensor.type, f"type {tensor.type}"), shape=shape)
