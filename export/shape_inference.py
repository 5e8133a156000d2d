"""ONNX's shape inference, by the values of small integers too where that takes little.

onnx 1.23 holds each number of a Range as a dimension of its own: a million take 2 s and 200 MB.
"""

from __future__ import annotations

import math

import onnx
from onnx import numpy_helper

from edgeconv.export.proto_graphs import all_graphs
from edgeconv.limits import TENSOR_BYTES

_MOST = 100_000
_ITEM_BYTES = 8


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
        constants = {tensor.name: tensor for tensor in graph.initializer if _is_number(tensor)}
        for node in graph.node:
            for item in node.attribute:
                if node.op_type == "Constant" and item.name == "value" and _is_number(item.t):
                    constants[node.output[0]] = item.t
        for node in graph.node:
            if node.op_type == "Range" and all(name in constants for name in node.input):
                length = _length(*(constants[name] for name in node.input))
                what = f"{path}: {node.name or node.output[0]} (Range) makes a tensor of"
                TENSOR_BYTES.check(length * _ITEM_BYTES, what)
                longest = max(longest, length)
    return longest <= _MOST


def _is_number(tensor: onnx.TensorProto) -> bool:
    external = tensor.data_location == onnx.TensorProto.EXTERNAL
    return not external and math.prod(tensor.dims) == 1


def _length(*bounds: onnx.TensorProto) -> int:
    start, limit, delta = (numpy_helper.to_array(bound).item() for bound in bounds)
    length = (limit - start) / delta if delta else 0
    return max(0, math.ceil(length)) if math.isfinite(length) else 0
