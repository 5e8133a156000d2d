"""Files that compute in other floats, or round activations while they run, in float32.

Boards and their runtimes compute in float32. So a network in float64, float16 or bfloat16 is
written in float32, and so is one whose activations are quantized while it runs. Its files are held
against that network.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnxscript.optimizer import fold_constants_ir

from edgeconv.errors import Notice
from edgeconv.export.capture.checks import refuse_large_weights
from edgeconv.export.capture.dynamic_quantization import DYNAMIC, write_in_float
from edgeconv.export.capture.refusal import SourceLine
from edgeconv.export.capture.stored_weights import has_only_weights_stored, read_stored_weights
from edgeconv.export.graph_edit import GraphEditor, all_values, describe

logger = logging.getLogger(__name__)

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
_OTHERS = {ir.DataType.DOUBLE, ir.DataType.BFLOAT16, HALF}
_NARROW_TYPES = {HALF.value, ir.DataType.BFLOAT16.value}
_NARROW = "edgeconv.narrow_floats"
_STACK_TRACE = "pkg.torch.onnx.stack_trace"
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "stash_type")


def write_in_float32(
    proto: onnx.ModelProto, path: Path, kinds: Collection[str]
) -> onnx.ModelProto | None:
    """The network of ``proto`` in float32; None where it computes in float32 already.

    A warning says what is different.

    Args:
        proto: The network with operators of the standard only.
        path: Its file, for the warning.
        kinds: The operators that the file has.

    Raises:
        CaptureError: It is quantized at run time in a way that has no float form.
        DataError: A weight is too large for float32.
    """
    model = ir.from_proto(proto)
    dynamic = not DYNAMIC.isdisjoint(kinds)
    if dynamic:
        write_in_float(model)
        logger.warning(
            Notice(
                f"{path.name} quantizes activations while it runs; float files have its integer "
                "weights as they are, and activations in float",
                "pass --precision int8-dynamic for files that quantize activations while they run",
            )
        )
    stored = has_only_weights_stored(model)
    if stored:
        read_stored_weights(model)
    others = _others_at_run_time(model)
    if others:
        refuse_large_weights(model)
        _convert(model)
        _warn(path.name, others)
    return ir.to_proto(model) if dynamic or stored or others else None


def compute_in_float32(model: ir.Model, name: str) -> None:
    """Change what PyTorch wrote of a module that computes in float64 or bfloat16, in place.

    A warning says so.

    Args:
        model: The graph.
        name: The module's name, for the warning.

    Raises:
        DataError: A weight is too large for float32.
    """
    found = _others_at_run_time(model)
    if narrow := found - {ir.DataType.DOUBLE}:
        model.graph.meta[_NARROW] = f"{' and '.join(sorted(map(_name, narrow)))}{_place(model)}"
    others = found - {HALF}  # float16 loses nothing where it is lowered
    if others:
        refuse_large_weights(model)
        _convert(model)
        _warn(name, others)


def narrow_floats(graph: ir.Graph) -> str:
    """The floats with fewer digits that a captured network computes in, and where it says so.

    Empty for one that computes in float32 or float64 only.
    """
    return str(graph.meta.get(_NARROW, ""))


def _place(model: ir.Model) -> str:
    """The user's line of the first Cast to fewer digits, as far as PyTorch noted it."""
    for node in model.graph.all_nodes():
        if node.op_type == "Cast" and node.attributes.get_int("to", 0) in _NARROW_TYPES:
            place = SourceLine.of_trace(node.metadata_props.get(_STACK_TRACE, ""))
            return f" at {place}" if place else ""
    return ""


def _warn(name: str, others: set[ir.DataType]) -> None:
    names = " and ".join(sorted(map(_name, others)))
    logger.warning("%s computes in %s; the files compute in float32", name, names)


def _name(dtype: ir.DataType) -> str:
    return "float64" if dtype is ir.DataType.DOUBLE else dtype.name.lower()


def _others_at_run_time(model: ir.Model) -> set[ir.DataType]:
    """The floats beside float32 that are computed with, other than for sizes."""
    others = _other_floats(model)
    if ir.DataType.DOUBLE in others:
        fold_constants_ir(model)  # arithmetic on sizes is computed here, in float64
        others = _other_floats(model)
    return others


def _other_floats(model: ir.Model) -> set[ir.DataType]:
    """The floats beside float32 that are computed with."""
    found = {value.dtype for value in all_values(model.graph) if value.dtype in _OTHERS}
    for node in model.graph.all_nodes():
        if node.op_type in ("Cast", "Constant"):
            found |= {dtype for dtype in _stated_types(node) if dtype in _OTHERS}
    return {dtype for dtype in found if dtype is not None}


def _stated_types(node: ir.Node) -> set[ir.DataType]:
    return {
        ir.DataType(item.as_int()) if item.type == ir.AttributeType.INT else item.as_tensor().dtype
        for item in node.attributes.values()
        if item.type == ir.AttributeType.TENSOR or item.name in _TYPE_ATTRIBUTES
    }


def _convert(model: ir.Model) -> None:
    """Let a network compute in float32; inputs and outputs of float16 keep their type."""
    halves = [
        [value for value in side if value.dtype is HALF]
        for side in (model.graph.inputs, model.graph.outputs)
    ]
    for node in model.graph.all_nodes():
        for name, item in list(node.attributes.items()):
            if item.type == ir.AttributeType.TENSOR and item.as_tensor().dtype in _OTHERS:
                node.attributes[name] = ir.AttrTensor(name, _single(item.as_tensor()))
            elif name in _TYPE_ATTRIBUTES and item.as_int() in _OTHERS:
                node.attributes[name] = ir.AttrInt64(name, FLOAT.value)
    for value in all_values(model.graph):
        if value.const_value is not None and value.const_value.dtype in _OTHERS:
            value.const_value = _single(value.const_value)
        if value.dtype in _OTHERS:
            value.type = ir.TensorType(FLOAT)
    editor = GraphEditor(model.graph)
    for value in halves[0]:
        _keep_input(editor, value)
    for value in halves[1]:
        _keep_output(editor, value)


def _single(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    with np.errstate(over="ignore"):  # a bound beyond float32 is an infinite one
        return ir.tensor(np.asarray(tensor.numpy()).astype(np.float32), name=tensor.name)


def _keep_input(editor: GraphEditor, value: ir.Value) -> None:
    """Cast an input of float16 to float32 behind the border."""
    cast = _cast(editor, value, FLOAT, f"{value.name}_float32")
    value.replace_all_uses_with(cast.outputs[0])
    cast.replace_input_with(0, value)
    value.type = ir.TensorType(HALF)
    first = next(iter(editor.graph), None)
    if first is None:
        editor.graph.append(cast)
    else:
        editor.graph.insert_before(first, cast)


def _keep_output(editor: GraphEditor, value: ir.Value) -> None:
    """Cast a result to the float16 that the file declares."""
    name = str(value.name)
    value.name = editor.free_name(f"{name}_float32")
    cast = _cast(editor, value, HALF, name)
    editor.graph.append(cast)
    outputs = editor.graph.outputs
    outputs[outputs.index(value)] = cast.outputs[0]


def _cast(editor: GraphEditor, value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
    node = ir.node("Cast", [value], {"to": dtype.value}, name=editor.free_name(f"{name}_cast"))
    node.outputs[0].name = name
    describe(node.outputs[0], value, dtype=dtype)
    return node
