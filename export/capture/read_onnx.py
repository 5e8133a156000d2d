"""Read an ``.onnx`` file: whole, checked, and in a form that ONNX Runtime runs."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import onnx_ir as ir

from edgeconv.errors import CaptureError, EdgeconvError
from edgeconv.export.capture.old_forms import write_in_forms_that_run
from edgeconv.export.capture.old_opsets import opset_of
from edgeconv.export.capture.runtime_operators import DOMAIN
from edgeconv.export.capture.schema_faults import schema_fault
from edgeconv.export.capture.sizes import refuse_damaged_constants
from edgeconv.export.capture.stated_types import correct_stated
from edgeconv.export.capture.well_formed import (
    has_small_outside,
    make_well_formed,
)
from edgeconv.export.fatal_inference import refuse_fatal_inference
from edgeconv.export.opset import MAX_OPSET
from edgeconv.export.proto_graphs import all_graphs, all_nodes
from edgeconv.export.quiet import quiet_python
from edgeconv.export.written_functions import refuse_endless_functions
from edgeconv.stand_in import refuse_stand_in

MAX_PROTO_BYTES = 2**31 - 1
"""The limit of protobuf for one message."""
_WEIGHTS_NEED_NO_INPUT = 4  # the IR version
_SCAN_OF_TODAY = 9  # the opset
_IS_NUMBER = re.compile("[0-9]{1,18}", re.ASCII).fullmatch
_MAKE_AGAIN = "make or copy it again"


def read_onnx_file(path: Path) -> tuple[onnx.ModelProto, bool]:
    """Read and check a file with its external weights, which have to lie in its own folder.

    Returns:
        The file, and whether it had to be changed to run on ONNX Runtime.

    Raises:
        CaptureError: It is damaged or invalid.
        LimitExceeded: It holds a tensor that is too large.
    """
    size = path.stat().st_size
    if size > MAX_PROTO_BYTES:
        raise CaptureError(
            f"{path} exceeds 2 GiB, the limit of one ONNX file",
            hint="keep the weights outside, as external data",
        )
    if size == 0:
        raise CaptureError(f"{path} is empty", hint=_MAKE_AGAIN)
    refuse_stand_in(path, CaptureError)
    try:
        proto = onnx.load(path, load_external_data=False)
    except OSError:
        raise
    except Exception as error:  # protobuf's own, which has no types to name it by
        raise CaptureError(f"{path} is not a whole ONNX file", hint=_MAKE_AGAIN) from error
    if not proto.ir_version or not proto.HasField("graph"):
        raise CaptureError(f"{path} is not an ONNX file: it has no graph", hint=_MAKE_AGAIN)
    if not proto.graph.output:
        raise CaptureError(
            f"{path} has no outputs, so there is nothing to compute",
            hint="make it again with the results that are wanted among its outputs",
        )
    refuse_damaged_constants(proto, path)
    _refuse_opsets(proto, path)
    _refuse_ambiguous(proto, path)
    refuse_endless_functions(proto, path)
    _refuse_places(proto, path)
    try:
        with quiet_python():  # onnx-ir does not know sparse weights
            model = ir.from_proto(proto)
        for tensor in (value.const_value for value in model.graph.initializers.values()):
            if isinstance(tensor, ir.ExternalTensor):
                _refuse_outside(path, tensor)
                refuse_stand_in(path.parent / str(tensor.location), CaptureError)
        changed = has_small_outside(proto)
        proto = onnx.load(path)
        _unlist_weights(proto)
        changed = make_well_formed(proto) or changed
        changed = write_in_forms_that_run(proto.graph, opset_of(proto)) or changed
        _place_in_its_domain(proto)
        refuse_fatal_inference(proto, path, onnx.shape_inference.infer_shapes)
        proto = _with_shapes(proto, path)
        _check(proto)
        changed = correct_stated(proto, path) or changed
    except EdgeconvError:
        raise
    except Exception as error:  # protobuf and the checker raise kinds of their own
        fault = schema_fault(proto, path)
        if fault is not None:
            raise fault from error
        raise CaptureError(
            f"{path} is not a valid ONNX file: {_one_line(cause_of(error))}",
            hint=_remedy(str(error)),
        ) from error
    return proto, changed


def _refuse_opsets(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse a file that states two opsets of the standard, none, or one that is not known."""
    stated = [item.version for item in proto.opset_import if item.domain in ("", "ai.onnx")]
    if len(set(stated)) > 1:
        raise CaptureError(
            f"{path} is not a valid ONNX file: it states opset {stated[0]} and opset {stated[1]}",
            hint="make it again with one opset of the standard operators",
        )
    known = onnx.defs.onnx_opset_version()
    wrong = [version for version in stated if not 0 < version <= known]
    if wrong:
        raise CaptureError(
            f"{path} states opset {wrong[0]}, and onnx {onnx.__version__} has opsets 1 to {known}",
            hint=f"make it anew with opset {MAX_OPSET}"
            + (", or install a later onnx" if wrong[0] > 0 else ""),
        )


def _refuse_ambiguous(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse what two nodes of a graph compute, and what opset 8 calls a Scan."""
    for graph in all_graphs(proto.graph):
        made: set[str] = set()
        for node in graph.node:
            for name in filter(None, node.output):
                if name in made:
                    raise CaptureError(
                        f"{path} is not a valid ONNX file: two nodes compute {name!r}, the second "
                        f"of which is {node.name or name} ({node.op_type})",
                        hint="make it again with a name for each result",
                    )
                made.add(name)
            if node.op_type == "Scan" and node.domain == "" and opset_of(proto) < _SCAN_OF_TODAY:
                raise CaptureError(
                    f"{path}: {node.name or node.output[0]} (Scan) is of opset 8, in which it is "
                    "over a batch of sequences, as no later one is",
                    hint="make the file anew with opset 9 or later",
                )


def _remedy(message: str) -> str:
    """What to do about a file of which onnx says ``message``."""
    if "External data" in message or "should be stored in" in message:
        return "copy the files of its weights, too, as a whole"
    if "ir_version" in message:
        return "install a later onnx, or make it again with an earlier one"
    return _MAKE_AGAIN


def _unlist_weights(proto: onnx.ModelProto) -> None:
    """Take the weights out of the inputs, where old files and some exporters list them too.

    Files of that age may also leave them out, which only later versions of the format allow.
    """
    weights = {tensor.name for tensor in proto.graph.initializer}
    weights |= {tensor.values.name for tensor in proto.graph.sparse_initializer}
    inputs = [value for value in proto.graph.input if value.name not in weights]
    proto.ir_version = max(proto.ir_version, _WEIGHTS_NEED_NO_INPUT)
    if len(inputs) == len(proto.graph.input):
        return
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)


def _place_in_its_domain(proto: onnx.ModelProto) -> None:
    """ONNX Runtime's optimizer writes one operator of its own as if it were in the standard."""
    found = [
        node
        for node in all_nodes(proto.graph)
        if node.op_type == "SimplifiedLayerNormalization" and node.domain == ""
    ]
    for node in found:
        node.domain = DOMAIN
    if found and all(item.domain != DOMAIN for item in proto.opset_import):
        proto.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))


def _check(proto: onnx.ModelProto) -> None:
    """Check a model, whose outputs may lack the shape that the checker demands."""
    missing = [
        value.type.tensor_type
        for value in proto.graph.output
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")
    ]
    for tensor in missing:
        tensor.shape.SetInParent()
    onnx.checker.check_model(proto, full_check=False)
    for tensor in missing:
        tensor.ClearField("shape")


def _with_shapes(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """``proto``, where inputs or outputs state no shape, with those that can be inferred."""
    if not _shapeless(proto):
        return proto
    proto = onnx.shape_inference.infer_shapes(proto)
    shapeless = [each for each in _shapeless(proto) if each.startswith("input")]
    if shapeless:
        raise CaptureError(
            f"{path}: the {shapeless[0]} states no shape, and none can be inferred",
            hint="state the shape where the file is made",
        )
    return proto


def _shapeless(proto: onnx.ModelProto) -> list[str]:
    """The inputs and outputs that are tensors without a shape."""
    borders = [("input", value) for value in proto.graph.input]
    borders += [("output", value) for value in proto.graph.output]
    return [
        f"{kind} {value.name!r}"
        for kind, value in borders
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")
    ]


def _refuse_places(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse weights whose place in another file is not stated in numbers."""
    for tensor in (each for graph in all_graphs(proto.graph) for each in graph.initializer):
        for entry in tensor.external_data:
            if entry.key in ("offset", "length") and not _IS_NUMBER(entry.value):
                raise CaptureError(
                    f"{path} is not a valid ONNX file: the {entry.key} of {tensor.name!r} in the "
                    f"file of its weights is {entry.value!r}",
                    hint=_MAKE_AGAIN,
                )


def _refuse_outside(path: Path, tensor: ir.ExternalTensor) -> None:
    folder = path.resolve().parent
    if not (folder / str(tensor.location)).resolve().is_relative_to(folder):
        raise CaptureError(
            f"{path} keeps weights outside its folder ({tensor.location}), which is not safe",
            hint="save the file again with its weights beside it",
        )
    target = folder / str(tensor.location)
    if target.exists() and not target.is_file():  # a pipe would never end
        raise CaptureError(
            f"{path} keeps weights in {str(tensor.location)!r}, which is not a file",
            hint="save the file again with its weights beside it",
        )


def cause_of(error: Exception) -> BaseException:
    """What onnx-ir met, in place of the error that it makes of it."""
    met: BaseException = error
    while isinstance(met, ir.serde.SerdeError) and met.__cause__ is not None:
        met = met.__cause__
    return met


def _one_line(error: BaseException) -> str:
    """Return the checker's message on one line, without the empty names of nodes in it."""
    text = " ".join(str(error).partition("==> Context")[0].split())
    return text.replace("name: OpType", "OpType") or type(error).__name__
