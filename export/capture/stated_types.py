"""Shapes and types that an ``.onnx`` file states of its results, held against its operators."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from edgeconv.errors import CaptureError, EdgeconvError, Notice, first_line
from edgeconv.export.proto_graphs import all_graphs
from edgeconv.export.shape_inference import with_shapes

logger = logging.getLogger(__name__)

_CONTRADICTION = "existing"  # how onnx calls what a file states, where it infers something else
_PLACE = re.compile(r"\(op_type:(?P<kind>\w+), node name: (?P<name>.*?)\): (?:\[\w+\] ?)?")
_KIND = re.compile(r"^\[\w+\] ?(?:Inference error\(s\): ?)?")


def correct_stated(proto: onnx.ModelProto, path: Path) -> bool:
    """Replace what ``proto`` states of results by what its operators make of the inputs.

    Says which results were stated otherwise. ONNX Runtime runs such files, too: nothing reads what
    they state.

    Args:
        proto: The file; only where it contradicts itself it is changed.
        path: Its path, for the message.

    Returns:
        Whether it was changed.
    """
    try:
        with_shapes(proto, path, strict=True)
        return False
    except EdgeconvError:
        raise
    except Exception as error:  # onnx raises kinds of its own
        if _CONTRADICTION not in str(error):
            return False  # a later step says what else does not fit
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    for graph in all_graphs(bare.graph):
        del graph.value_info[:]
        for output in graph.output:
            output.type.Clear()
    try:
        found = with_shapes(bare, path, strict=True)
    except Exception:  # the operators do not fit together either, which a later step says
        return False
    wrong = list(_corrected(proto, found))
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        logger.warning(
            Notice(
                f"{path.name} contradicts itself: {wrong[0]}{more}; what the operators make is "
                "taken",
                "check that its inputs or operators were not changed by mistake after it was made",
            )
        )
    return bool(wrong)


def _corrected(proto: onnx.ModelProto, found: onnx.ModelProto) -> Iterator[str]:
    """Correct what contradicts ``found``, and say what it was."""
    for graph, inferred in zip(all_graphs(proto.graph), all_graphs(found.graph), strict=True):
        types = {value.name: value.type for value in (*inferred.value_info, *inferred.output)}
        makers = {name: node for node in graph.node for name in node.output}
        for value in (*graph.value_info, *graph.output):
            made = types.get(value.name)
            if made is None or not _contradict(value.type, made):
                continue
            maker = makers.get(value.name)
            by = "" if maker is None else f" of {maker.name or value.name} ({maker.op_type})"
            yield f"it states {_text(value.type)} for {value.name!r}, a result{by} of {_text(made)}"
            value.type.CopyFrom(made)


def _contradict(stated: onnx.TypeProto, made: onnx.TypeProto) -> bool:
    if not (stated.HasField("tensor_type") and made.HasField("tensor_type")):
        return stated.WhichOneof("value") is not None and made.WhichOneof("value") is not None
    one, other = stated.tensor_type, made.tensor_type
    if one.elem_type and other.elem_type and one.elem_type != other.elem_type:
        return True
    if not (one.HasField("shape") and other.HasField("shape")):
        return False
    if len(one.shape.dim) != len(other.shape.dim):
        return True
    pairs = zip(one.shape.dim, other.shape.dim, strict=True)
    return any(
        a.HasField("dim_value") and b.HasField("dim_value") and a.dim_value != b.dim_value
        for a, b in pairs
    )


def _text(kind: onnx.TypeProto) -> str:
    """A type and a shape as in ``float32 [1, 3, 8, 8]``."""
    if not kind.HasField("tensor_type"):
        return str(kind.WhichOneof("value")).removesuffix("_type")
    tensor = kind.tensor_type
    name = str(onnx.TensorProto.DataType.Name(tensor.elem_type)).lower()
    name = {"float": "float32", "double": "float64"}.get(name, name)
    if not tensor.HasField("shape"):
        return name
    sides = (str(d.dim_value) if d.HasField("dim_value") else "?" for d in tensor.shape.dim)
    return f"{name} [{', '.join(sides)}]"


def misfit(path: Path, error: Exception, proto: onnx.ModelProto, opened: bool) -> CaptureError:
    """What to raise for a file of which onnx says that its shapes do not fit together.

    Args:
        path: The file.
        error: What onnx raised.
        proto: The file, in which each node has a name.
        opened: Whether the caller stated a size that the file leaves open.
    """
    cause = _KIND.sub("", first_line(error))
    place = _PLACE.search(cause)
    at = ""
    if place is not None:
        cause = _KIND.sub("", cause[place.end() :])
        at = f" at {place['name']} ({place['kind']}{_inputs(proto, place['name'])})"
    return CaptureError(
        f"{path}: shapes do not fit together{at}: {cause}",
        hint="check the sizes with --input NAME:SHAPE"
        if opened
        else "the sizes are those of the file: make it again, and look at what this operator reads",
    )


def _inputs(proto: onnx.ModelProto, name: str) -> str:
    """What a node reads, as far as shapes are known, for a message."""
    node = next((n for g in all_graphs(proto.graph) for n in g.node if n.name == name), None)
    if node is None:
        return ""
    found: dict[str, onnx.TypeProto] = {}
    try:
        inferred = onnx.shape_inference.infer_shapes(proto)
    except Exception:  # then only what the file states is known
        inferred = proto
    for graph in all_graphs(inferred.graph):
        known: Iterable[onnx.ValueInfoProto] = (*graph.input, *graph.value_info, *graph.output)
        found |= {value.name: value.type for value in known}
        for tensor in graph.initializer:
            found[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    shown = [f"{each} is {_text(found[each])}" for each in node.input if each in found]
    return f": {', '.join(shown)}" if shown else ""
