"""Files on which ONNX's shape inference ends the process (onnx 1.23).

A filter that is larger than its input, or a crop, makes a size below zero, and the inference of a
Slice of that fails an assertion of C++ (``std::clamp``). EyeLike and RegexFullMatch read the type
of their input where none is known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import onnx

from edgeconv.errors import CaptureError
from edgeconv.export.apart import fatal_signal
from edgeconv.export.proto_graphs import all_nodes, nodes_within

_OF_SIZES = "Slice"
_OF_TYPES = {"EyeLike", "RegexFullMatch"}
# A domain without operators of ours: nothing is inferred of its nodes.
_UNKNOWN = "edgeconv.unknown"


def refuse_fatal_inference(
    proto: onnx.ModelProto, path: object, infer: Callable[[onnx.ModelProto], object]
) -> None:
    """Refuse a file on which shape inference would end this process.

    Args:
        proto: The file.
        path: Its path, for the message.
        infer: Infers its shapes.

    Raises:
        CaptureError: A size in it is below zero, or the input of an operator has no type.
    """
    present = {node.op_type for node in _nodes(proto)}
    made = _below_zero(proto) if _OF_SIZES in present else ""
    tried = present & {_OF_SIZES, *_OF_TYPES}
    if not made and not (tried and fatal_signal(lambda: infer(proto))):
        return
    if made or tried == {_OF_SIZES} or fatal_signal(lambda: infer(_without(proto, _OF_TYPES))):
        raise CaptureError(
            f"{path}: a size in it is below zero{made}",
            hint="a layer is larger than its input: state larger sizes of the inputs, if the file "
            "leaves them open, with --input NAME:SHAPE",
        )
    node = next(node for node in _nodes(proto) if node.op_type in _OF_TYPES)
    raise CaptureError(
        f"{path}: the type of what {node.name or ''.join(node.output[:1])} ({node.op_type}) reads "
        "is not known",
        hint="check the operator that computes it, or export the part before with --cut-outputs",
    )


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    yield from all_nodes(proto.graph)
    for function in proto.functions:
        yield from nodes_within(function.node)


def _without(proto: onnx.ModelProto, kinds: Collection[str]) -> onnx.ModelProto:
    """A copy in which nothing is inferred of the operators of these kinds."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for node in _nodes(copy):
        if node.op_type in kinds:
            node.domain = _UNKNOWN
    copy.opset_import.append(onnx.helper.make_opsetid(_UNKNOWN, 1))
    return copy


def _below_zero(proto: onnx.ModelProto) -> str:
    """Which node makes it, as far as shapes follow without any Slice; otherwise empty."""
    copy = _without(proto, {_OF_SIZES, *_OF_TYPES})
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
