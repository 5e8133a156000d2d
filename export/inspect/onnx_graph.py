"""An ONNX file read into plain records: no weight is loaded, no shape allocated.

Source of the format: ``onnx.proto`` and the ONNX IR specification.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from edgeconv.errors import DataError
from edgeconv.export.fatal_inference import refuse_fatal_inference
from edgeconv.export.inspect.dtypes import size_of
from edgeconv.export.shape_inference import with_shapes
from edgeconv.export.written_functions import refuse_endless_functions
from edgeconv.stand_in import refuse_stand_in

logger = logging.getLogger(__name__)

# Constants up to here stay in the graph for shape inference, which reads shapes and axes.
_SMALL = 1024
_TYPED_FIELDS = (
    *("float_data", "double_data", "int32_data", "int64_data", "uint64_data", "string_data"),
)


@dataclass(frozen=True)
class Value:
    """What is known of a tensor; ``shape`` is None where it is not."""

    shape: tuple[int, ...] | None
    dtype: str

    @property
    def elements(self) -> int:
        """The number of elements; 1 where the shape is not known."""
        return prod(self.shape or ())


@dataclass(frozen=True)
class Node:
    """One node; ``nested`` is whether it is in the body of an If, Loop or Scan."""

    name: str
    operator: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    nested: bool


@dataclass(frozen=True)
class Border:
    """An input or output of the graph; a dynamic dimension is its symbol, or "?"."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass
class Model:
    """The whole file.

    ``values`` holds every tensor whose type is known, ``scalars`` the value of every constant of
    one element.
    """

    producer: str
    ir_version: int
    opsets: dict[str, int]
    inputs: tuple[Border, ...] = ()
    outputs: tuple[Border, ...] = ()
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Value] = field(default_factory=dict)
    constant_bytes: int = 0
    scalars: dict[str, float] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    external_files: set[Path] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def read_model(data: bytes, path: Path) -> Model:
    """Read an ONNX protobuf; ``path`` is for messages and for its external data.

    Raises:
        DataError: The bytes are not a whole and consistent ONNX file, or its external data is
            missing or lies outside its folder.
    """
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:  # protobuf's own, which has no types to name it by
        raise DataError(f"{path} is not a whole ONNX file", hint="make or copy it again") from error
    if not proto.ir_version or not proto.HasField("graph") or not proto.graph.output:
        raise DataError(
            f"{path} is not an ONNX file: it has no graph", hint="name an .onnx or .tflite file"
        )
    refuse_endless_functions(proto, path)
    opsets = {_text(entry.domain): entry.version for entry in proto.opset_import}
    opsets.setdefault("", opsets.pop("ai.onnx", 1))
    producer = f"{_text(proto.producer_name)} {_text(proto.producer_version)}".strip()
    model = Model(producer, proto.ir_version, opsets)
    _read_borders(model, proto.graph)
    _read_graph(model, proto.graph, path, nested=False)
    _check_order(model, path)
    if proto.functions:
        model.notes.append("operators inside the file's own functions are not counted")
    _infer(model, proto)
    return model


def _text(value: str | bytes) -> str:
    """Decode a string; protobuf returns bytes where it is not UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", errors="replace")


def _read_borders(model: Model, graph: onnx.GraphProto) -> None:
    stored = {_text(tensor.name) for tensor in graph.initializer}
    model.inputs = tuple(_border(info) for info in graph.input if _text(info.name) not in stored)
    model.outputs = tuple(_border(info) for info in graph.output)


def _border(info: onnx.ValueInfoProto) -> Border:
    tensor = info.type.tensor_type
    shape: list[int | str] = []
    for dim in tensor.shape.dim:
        fixed = dim.HasField("dim_value") and dim.dim_value >= 0
        shape.append(dim.dim_value if fixed else _text(dim.dim_param) or "?")
    return Border(_text(info.name), tuple(shape), _dtype(tensor.elem_type))


def _dtype(code: int) -> str:
    try:
        name = str(onnx.TensorProto.DataType.Name(code)).lower()
    except ValueError:
        return f"type {code}"
    return {"float": "float32", "double": "float64"}.get(name, name)


def _read_graph(model: Model, graph: onnx.GraphProto, path: Path, *, nested: bool) -> None:
    for tensor in graph.initializer:
        _read_constant(model, _text(tensor.name), tensor, path)
    for sparse in graph.sparse_initializer:
        _read_constant(model, _text(sparse.values.name), sparse.values, path)
    for proto in graph.node:
        attributes = {}
        for attribute in proto.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and proto.op_type == "Constant":
                name = _text(proto.output[0]) if proto.output else ""
                _read_constant(model, name, attribute.t, path)
            elif attribute.type == onnx.AttributeProto.GRAPH:
                _read_graph(model, attribute.g, path, nested=True)
            elif attribute.type in (onnx.AttributeProto.INT, onnx.AttributeProto.STRING):
                attributes[_text(attribute.name)] = onnx.helper.get_attribute_value(attribute)
        domain = "" if proto.domain == "ai.onnx" else _text(proto.domain)
        inputs, outputs = tuple(map(_text, proto.input)), tuple(map(_text, proto.output))
        name, operator = _text(proto.name), _text(proto.op_type)
        model.nodes.append(Node(name, operator, domain, inputs, outputs, attributes, nested))


def _read_constant(model: Model, name: str, tensor: onnx.TensorProto, path: Path) -> None:
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        raise DataError(
            f"{path} is damaged: the constant {name!r} has the shape {shape}",
            hint="make or copy it again",
        )
    value = Value(shape, _dtype(tensor.data_type))
    expected = size_of(value.dtype, value.elements)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        stored = _external_bytes(model, name, tensor, path)
    elif tensor.HasField("raw_data"):
        stored = len(tensor.raw_data)
    else:
        # Each entry of a typed field holds one element or more: two of int4, four of int2.
        entries = max(len(getattr(tensor, field_name)) for field_name in _TYPED_FIELDS)
        stored = expected if entries * 4 >= value.elements else 0
    if stored < expected:
        raise DataError(
            f"{path} is damaged: the constant {name!r} takes {expected} bytes and has {stored}",
            hint="make or copy it again",
        )
    model.constants[name] = value
    model.constant_bytes += max(stored, expected)
    if value.elements == 1 and tensor.data_location != onnx.TensorProto.EXTERNAL:
        try:
            model.scalars[name] = float(numpy_helper.to_array(tensor).reshape(()))
        except (TypeError, ValueError, KeyError):  # a string, or a type that NumPy lacks
            logger.debug("the constant %r is not a number", name)


def _external_bytes(model: Model, name: str, tensor: onnx.TensorProto, path: Path) -> int:
    """The size of a tensor that is stored in another file, which is not opened."""
    entries = {_text(entry.key): _text(entry.value) for entry in tensor.external_data}
    folder = path.parent.resolve()
    try:
        target = (folder / entries.get("location", "")).resolve()
        there = target.is_file()
    except (OSError, ValueError) as error:  # too long a name, or one with a NUL in it
        raise DataError(
            f"{path} is damaged: the name of the file of {name!r} is none",
            hint="make or copy it again",
        ) from error
    if not target.is_relative_to(folder) or target == folder:
        raise DataError(
            f"{path} keeps the constant {name!r} outside its folder, in "
            f"{entries.get('location', '')!r}",
            hint="move that file beside the model, and write its new place into the model",
        )
    if not there:
        raise DataError(
            f"{path} keeps the constant {name!r} in {target}, which is not there",
            hint="copy that file too, beside the model",
        )
    model.external_files.add(target)
    try:
        offset = int(entries.get("offset", "0"))
        available = target.stat().st_size - offset
        length = int(entries.get("length", available))
    except ValueError as error:
        raise DataError(
            f"{path} is damaged: the place of {name!r} is not a number",
            hint="make or copy it again",
        ) from error
    if offset >= 0 and 0 <= length <= available:
        return length
    refuse_stand_in(target)
    return 0


def _check_order(model: Model, path: Path) -> None:
    """Refuse a graph in which a node reads what no earlier node writes.

    Bodies of control flow also read from outside, and are not checked.
    """
    known = {border.name for border in model.inputs} | set(model.constants) | {""}
    for node in model.nodes:
        if not node.nested:
            for name in node.inputs:
                if name not in known:
                    raise DataError(
                        f"{path} is damaged: {node.operator} reads {name!r}, which no earlier node "
                        "writes",
                        hint="make the file again",
                    )
        known.update(node.outputs)


def _infer(model: Model, proto: onnx.ModelProto) -> None:
    """Fill in ``values`` by ONNX's shape inference, with every dynamic dimension as 1."""
    symbols = {dim for border in model.inputs for dim in border.shape if isinstance(dim, str)}
    if symbols:
        model.notes.append(
            "MACs and activation memory take these dimensions as 1: " + ", ".join(sorted(symbols))
        )
    graph = proto.graph
    for info in (*graph.input, *graph.output, *graph.value_info):
        for dim in info.type.tensor_type.shape.dim:
            if _text(dim.dim_param) in symbols or dim.dim_value < 0:
                dim.dim_value = 1
    _drop_large(graph)
    try:
        refuse_fatal_inference(proto, "the file", onnx.shape_inference.infer_shapes)
        graph = with_shapes(proto).graph
    except Exception as error:  # it raises bare C++ exceptions of many kinds
        logger.debug("shape inference failed: %s", error)
        model.notes.append("shapes could not be inferred")
    model.values = dict(model.constants)
    for info in _value_infos(graph):
        tensor = info.type.tensor_type
        if not info.type.HasField("tensor_type"):
            continue
        known = tensor.HasField("shape") and all(
            dim.HasField("dim_value") and dim.dim_value >= 0 for dim in tensor.shape.dim
        )
        shape = tuple(dim.dim_value for dim in tensor.shape.dim) if known else None
        model.values.setdefault(_text(info.name), Value(shape, _dtype(tensor.elem_type)))


def _drop_large(graph: onnx.GraphProto) -> None:
    """Turn large initializers into inputs of their type: inference needs only their types."""
    named = {info.name for info in graph.input}
    kept = []
    for tensor in graph.initializer:
        if prod(tensor.dims) <= _SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL:
            kept.append(tensor)
        elif tensor.name not in named:
            shape = list(tensor.dims)
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, shape)
            graph.input.append(info)
    small = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:]
    graph.initializer.extend(small)


def _value_infos(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from graph.input
    yield from graph.output
    yield from graph.value_info
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _value_infos(attribute.g)
