"""Integer types that ONNX Runtime has no kernel for are computed in wider ones.

PyTorch computes anything in 8 and 16 bits, and ONNX and its runtime do not: there is no Neg of
uint8, no Pow of int8, and no Max of int16. What PyTorch wraps around, the Cast back wraps around.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import onnx
import onnx_ir as ir
from onnx_ir.passes import common
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from edgeconv.export.graph_edit import GraphEditor, describe

_SHORT = {
    *(ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16),
    *(ir.DataType.UINT32, ir.DataType.BOOL),
}
_WIDER = ir.DataType.INT32, ir.DataType.INT64
_PROVIDER = "CPUExecutionProvider"


def compute_where_kernels_are(model: ir.Model) -> None:
    """Cast the operands of each node whose type ONNX Runtime has no kernel for, and its results.

    It changes ``model`` in place. Nodes that have no kernel of a wider type either stay.
    """
    values = [*model.graph.inputs, *model.graph.initializers.values()]
    values += [value for node in model.graph for value in node.outputs]
    if not any(value.dtype in _SHORT - {ir.DataType.BOOL} for value in values):
        return
    if any(value.dtype is None for value in values):
        common.ShapeInferencePass()(model)
    editor = GraphEditor(model.graph)
    opset = model.graph.opset_imports[""]
    for node in list(model.graph):
        # Sequences are written out later, by operators on their elements.
        if node.domain == "" and node.op_type != "Cast" and "Sequence" not in node.op_type:
            _widen(editor, node, opset)


def _widen(editor: GraphEditor, node: ir.Node, opset: int) -> None:
    kernels = _kernels(node.op_type, opset)
    schema = onnx.defs.get_schema(node.op_type, opset) if kernels else None
    if schema is None:
        return
    for name, value in _of_types(schema.inputs, node.inputs).items():
        # All have the same; shape inference, which refuses such types, leaves some out.
        dtypes = {dtype for each in value if (dtype := _dtype(each)) is not None}
        allowed = kernels.get(name)
        if allowed is None or len(dtypes) != 1 or not dtypes <= _SHORT or dtypes <= allowed:
            continue
        (dtype,) = dtypes
        wide = next((each for each in _WIDER if each in allowed), None)
        if wide is None:
            continue
        for index, given in enumerate(node.inputs):
            if given in value:
                node.replace_input_with(index, _cast_before(editor, node, given, wide))
        for result in _of_types(schema.outputs, node.outputs).get(name, []):
            _cast_behind(editor, node, result, dtype, wide)


def _dtype(value: ir.Value) -> ir.DataType | None:
    held = ir.convenience.get_const_tensor(value)  # the exporter leaves the type of some out
    return held.dtype if held is not None else value.dtype


def _of_types(formal: object, values: Sequence[ir.Value | None]) -> dict[str, list[ir.Value]]:
    """The values of each type variable of a schema."""
    found: dict[str, list[ir.Value]] = defaultdict(list)
    parameters = list(formal)  # type: ignore[call-overload]  # a sequence of onnx's own
    for index, value in enumerate(values):
        parameter = parameters[min(index, len(parameters) - 1)]  # the last one may be variadic
        if value is not None:
            found[parameter.type_str].append(value)
    return found


def _cast_before(editor: GraphEditor, node: ir.Node, value: ir.Value, to: ir.DataType) -> ir.Value:
    name = editor.free_name(f"{value.name}_{to.name}")
    cast = ir.node("Cast", [value], {"to": int(to)}, name=name)
    cast.outputs[0].name = name
    describe(cast.outputs[0], value, dtype=to)
    editor.graph.insert_before(node, cast)
    return cast.outputs[0]


def _cast_behind(
    editor: GraphEditor, node: ir.Node, value: ir.Value, dtype: ir.DataType, wide: ir.DataType
) -> None:
    """Let ``node`` compute ``value`` in a wide type, cast back to its own for whoever reads it."""
    name = editor.free_name(f"{value.name}_{dtype.name}")
    cast = ir.node("Cast", [value], {"to": int(dtype)}, name=name)
    result = cast.outputs[0]
    describe(result, value, dtype=dtype)
    ir.convenience.replace_all_uses_with(value, result, replace_graph_outputs=True)
    cast.replace_input_with(0, value)
    result.name, value.name = value.name, name
    value.type = ir.TensorType(wide)
    editor.graph.insert_after(node, cast)


@lru_cache(maxsize=256)
def _kernels(op_type: str, opset: int) -> dict[str, frozenset[ir.DataType]]:
    """The types of each type variable of an operator that the runtime computes in; none if none."""
    found: dict[str, set[ir.DataType]] = defaultdict(set)
    for kernel in _every_kernel().get(op_type, ()):
        first, last = kernel.version_range
        if first <= opset <= last:
            for variable, types in kernel.type_constraints.items():
                found[variable] |= {_TYPES[each] for each in types if each in _TYPES}
    return {variable: frozenset(types) for variable, types in found.items()}


@lru_cache(maxsize=1)
def _every_kernel() -> dict[str, list[runtime.opkernel.KernelDef]]:
    found: dict[str, list[runtime.opkernel.KernelDef]] = defaultdict(list)
    for kernel in runtime.get_all_opkernel_def():
        if kernel.domain == "" and kernel.provider == _PROVIDER:
            found[kernel.op_name].append(kernel)
    return found


_TYPES = {f"tensor({dtype.name.lower()})": dtype for dtype in ir.DataType}
