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
from edgeconv.export.proto_graphs import all_graphs
from edgeconv.limits import NETWORK_BYTES, TENSOR_BYTES

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
    """Refuse a graph whose tensors are too large, alone or together, by their inferred shapes.

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
    NETWORK_BYTES.check(most_bytes(proto), f"{path}: the tensors in memory at one time take")


def most_bytes(proto: onnx.ModelProto) -> int:
    """The most that the tensors of a graph take at one time, by its inferred shapes.

    What depends on constants only is computed at export and kept, like a constant. Anything else is
    there from the node that computes it to its last reader. Bodies of control flow do not count,
    but for their constants.
    """
    graph = proto.graph
    sizes = {
        value.name: _bytes(
            (dim.dim_value for dim in value.type.tensor_type.shape.dim),
            value.type.tensor_type.elem_type,
        )
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    kept = sum(_bytes(tensor.dims, tensor.data_type) for tensor in _constants(graph))
    kept += sum(_bytes(each.dims, each.values.data_type) for each in _sparse(graph))
    constants = {"", *(tensor.name for tensor in graph.initializer)}
    variable = {value.name for value in graph.input} - constants
    last = {name: at for at, node in enumerate(graph.node) for name in node.input}
    last |= {value.name: len(graph.node) for value in graph.output}
    live = sum(sizes[name] for name in variable)
    most = live
    for at, node in enumerate(graph.node):
        made = sum(sizes.get(name, 0) for name in node.output)
        if variable.isdisjoint(node.input):
            kept += 0 if node.op_type == "Constant" else made  # its tensor is counted already
            continue
        variable |= set(filter(None, node.output))
        live += made
        most = max(most, live)
        touched = (*node.input, *node.output)
        ended = variable.intersection(name for name in touched if last.get(name, at) <= at)
        live -= sum(sizes.get(name, 0) for name in ended)
        variable -= ended
    return kept + most


def _check_size(dims: Iterable[int], data_type: int, what: str) -> None:
    TENSOR_BYTES.check(_bytes(dims, data_type), what)


def _bytes(dims: Iterable[int], data_type: int) -> int:
    items = math.prod(max(0, dim) for dim in dims)
    try:
        item = onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize
    except KeyError:
        item = _UNKNOWN_ITEM_BYTES
    return items * item


def _attributes(graph: onnx.GraphProto) -> Iterator[onnx.AttributeProto]:
    for each in all_graphs(graph):
        for node in each.node:
            yield from node.attribute


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    for each in all_graphs(graph):
        yield from each.initializer
    yield from (each.t for each in _attributes(graph) if each.HasField("t"))


def _sparse(graph: onnx.GraphProto) -> Iterator[onnx.SparseTensorProto]:
    for each in all_graphs(graph):
        yield from each.sparse_initializer
    stated = (each for each in _attributes(graph) if each.HasField("sparse_tensor"))
    yield from (each.sparse_tensor for each in stated)
