"""Sizes below zero, on which ONNX's shape inference ends the process.

A filter that is larger than its input, or a crop, makes a size below zero, and the inference of a
Slice of that fails an assertion of C++ (``std::clamp``, onnx 1.23).
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from edgeconv.errors import CaptureError
from edgeconv.export.apart import fatal_signal
from edgeconv.export.proto_graphs import all_nodes

_FATAL = "Slice"
# A domain without operators of ours: nothing is inferred of its nodes.
_UNKNOWN = "edgeconv.unknown"


def refuse_fatal_sizes(
    proto: onnx.ModelProto, path: object, infer: Callable[[onnx.ModelProto], object]
) -> None:
    """Refuse a file on which shape inference would end this process.

    Args:
        proto: The file.
        path: Its path, for the message.
        infer: Infers its shapes.

    Raises:
        CaptureError: A size in it is below zero.
    """
    nodes = [*all_nodes(proto.graph), *(node for each in proto.functions for node in each.node)]
    if not any(node.op_type == _FATAL for node in nodes):
        return
    made = _below_zero(proto)
    if made or fatal_signal(lambda: infer(proto)):
        raise CaptureError(
            f"{path}: a size in it is below zero{made}",
            hint="a layer is larger than its input: state larger sizes of the inputs, if the file "
            "leaves them open, with --input NAME:SHAPE",
        )


def _below_zero(proto: onnx.ModelProto) -> str:
    """Which node makes it, as far as shapes follow without any Slice; otherwise empty."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for node in (*all_nodes(copy.graph), *(node for f in copy.functions for node in f.node)):
        if node.op_type == _FATAL:
            node.domain = _UNKNOWN
    copy.opset_import.append(onnx.helper.make_opsetid(_UNKNOWN, 1))
    try:
        inferred = onnx.shape_inference.infer_shapes(copy)
    except Exception:  # shapes that do not fit together, which the caller says
        return ""
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if any(size < 0 for size in sizes):
            node = next((n for n in copy.graph.node if value.name in n.output), None)
            maker = "" if node is None else f"{node.name or value.name} ({node.op_type})"
            return f": {maker or value.name} makes {sizes}"
    return ""
