"""How large the tensors of an ONNX file are, before anything allocates them.

A file of two kilobytes can state a constant of gigabytes, or make one by ConstantOfShape or Expand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import numpy_helper

from edgeconv.errors import CaptureError
from edgeconv.limits import TENSOR_BYTES

_UNKNOWN_ITEM_BYTES = 4  # strings, and types that this version of onnx does not know


def refuse_damaged_constants(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse constants that are too large, or whose data are not what type and shape say.

    Raises:
        CaptureError: The data of a constant do not fit.
        LimitExceeded: A constant is larger than the limit.
    """
    for tensor in _constants(proto.graph):
        name = tensor.name or "without a name"
        _check_size(tensor.dims, tensor.data_type, f"{path}: the constant {name!r} takes")
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            continue
        try:
            numpy_helper.to_array(tensor)
        except Exception as error:  # onnx and NumPy raise what they meet first
            raise CaptureError(
                f"{path}: the data of the constant {name!r} are not what its type and shape say",
                hint="make or copy it again",
            ) from error
    for sparse in _sparse(proto.graph):
        name = sparse.values.name
        _check_size(sparse.dims, sparse.values.data_type, f"{path}: the constant {name!r} takes")


def refuse_huge_values(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse a graph that computes a tensor larger than the limit, by its inferred shapes.

    Raises:
        LimitExceeded: It does.
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    values = (*proto.graph.input, *proto.graph.value_info, *proto.graph.output)
    for value in values:
        tensor = value.type.tensor_type
        dims = [dim.dim_value for dim in tensor.shape.dim]
        node = makers.get(value.name)
        by = f" of {node.name or node.op_type} ({node.op_type})" if node is not None else ""
        _check_size(dims, tensor.elem_type, f"{path}: the tensor {value.name!r}{by} takes")


def _check_size(dims: Iterable[int], data_type: int, what: str) -> None:
    items = math.prod(max(0, dim) for dim in dims)
    try:
        item = onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize
    except KeyError:
        item = _UNKNOWN_ITEM_BYTES
    TENSOR_BYTES.check(items * item, what)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _attributes(graph: onnx.GraphProto) -> Iterator[onnx.AttributeProto]:
    for each in _graphs(graph):
        for node in each.node:
            yield from node.attribute


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    for each in _graphs(graph):
        yield from each.initializer
    yield from (each.t for each in _attributes(graph) if each.HasField("t"))


def _sparse(graph: onnx.GraphProto) -> Iterator[onnx.SparseTensorProto]:
    for each in _graphs(graph):
        yield from each.sparse_initializer
    stated = (each for each in _attributes(graph) if each.HasField("sparse_tensor"))
    yield from (each.sparse_tensor for each in stated)
