"""ONNX's shape inference, by the values of small integers too where that takes little.

onnx 1.23 holds each number of a Range as a dimension of its own: a million take 2 s and 200 MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeconv.export.proto_graphs import all_graphs, nodes_within
from edgeconv.limits import TENSOR_BYTES

_MOST = 100_000
_ITEM_BYTES = 8
_FORMS = {"value_int", "value_ints", "value_float", "value_floats"}


def with_shapes(
    proto: onnx.ModelProto, path: object = "the file", *, strict: bool = False
) -> onnx.ModelProto:
    """``proto`` with the shapes that follow from what it states.

    Args:
        proto: The file.
        path: Its path, for the message.
        strict: Whether what does not fit together is an error.

    Raises:
        LimitExceeded: A Range makes a tensor that is too large.
        Exception: onnx raises kinds of its own.
    """
    by_values = _can_propagate(proto, path)
    return onnx.shape_inference.infer_shapes(proto, strict_mode=strict, data_prop=by_values)


def _can_propagate(proto: onnx.ModelProto, path: object) -> bool:
    """Whether no Range in it is too long for that."""
    longest = 0
    for graph in all_graphs(proto.graph):
        constants = _numbers(graph.initializer, graph.node)
        for node in graph.node:
            if node.op_type == "Range" and all(name in constants for name in node.input):
                length = _length(*(constants[name] for name in node.input))
                what = f"{path}: {node.name or node.output[0]} (Range) makes a tensor of"
                TENSOR_BYTES.check(length * _ITEM_BYTES, what)
                longest = max(longest, length)
    return max(longest, _longest_of_functions(proto)) <= _MOST


def _longest_of_functions(proto: onnx.ModelProto) -> float:
    """How long a Range in a function may be at most, which onnx infers for each call of it.

    Its bounds are constants of the function or of what calls it; no integer is below -1 and 1 but
    zero, by which nothing is divided.
    """
    if all(node.op_type != "Range" for each in proto.functions for node in nodes_within(each.node)):
        return 0
    found: list[float] = []
    for graph in all_graphs(proto.graph):
        found += _numbers(graph.initializer, graph.node).values()
    for function in proto.functions:
        found += _numbers((), nodes_within(function.node)).values()
    return 2 * max((abs(number) for number in found if math.isfinite(number)), default=0)


def _numbers(
    tensors: Iterable[onnx.TensorProto], nodes: Iterable[onnx.NodeProto]
) -> dict[str, float]:
    """The constants of one number, by name."""
    found = {tensor.name: tensor for tensor in tensors}
    for node in nodes:
        for item in node.attribute if node.op_type == "Constant" else ():
            if item.HasField("t"):
                found[node.output[0]] = item.t
            elif item.name in _FORMS:
                made = np.array(helper.get_attribute_value(item))
                found[node.output[0]] = numpy_helper.from_array(made)
    return {
        name: numpy_helper.to_array(tensor).reshape(-1)[0].item()
        for name, tensor in found.items()
        if _is_number(tensor)
    }


def _is_number(tensor: onnx.TensorProto) -> bool:
    external = tensor.data_location == onnx.TensorProto.EXTERNAL
    text = tensor.data_type == onnx.TensorProto.STRING
    return not external and not text and math.prod(tensor.dims) == 1


def _length(start: float, limit: float, delta: float) -> int:
    length = (limit - start) / delta if delta else 0
    return max(0, math.ceil(length)) if math.isfinite(length) else 0
