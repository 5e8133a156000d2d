"""Ranges that are too long for ONNX's inference to propagate (onnx 1.23).

It holds each number of a Range as a dimension of its own: a million take 2 s and 200 MB.
"""

from __future__ import annotations

import math

import onnx
from onnx import numpy_helper

from edgeconv.export.proto_graphs import all_graphs
from edgeconv.limits import TENSOR_BYTES

_MOST = 100_000
_ITEM_BYTES = 8


def can_propagate(proto: onnx.ModelProto, path: object = "the file") -> bool:
    """Whether ONNX's inference can take values along with shapes (``data_prop``) in a graph.

    Args:
        proto: The file.
        path: Its path, for the message.

    Raises:
        LimitExceeded: A Range makes a tensor that is too large.
    """
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
