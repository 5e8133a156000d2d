"""Shapes of what a Loop carries from one iteration to the next.

ONNX's shape inference says nothing of them, because they might change. They do not if one iteration
whose inputs have the shapes of the first ones gives results of the same shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import helper, numpy_helper

from edgeconv.export.proto_graphs import all_nodes
from edgeconv.export.shape_inference import with_shapes

Types = Mapping[str, onnx.TypeProto]


def state_loop_shapes(model: onnx.ModelProto) -> None:
    """State the shapes of the results of the Loops of a graph, and inside their bodies, in place.

    Raises:
        Exception: Shapes do not fit together; ONNX's shape inference has several kinds.
    """
    for node in model.graph.node:
        if node.op_type != "Loop" or node.domain not in ("", "ai.onnx"):
            continue
        types = _types(model)
        body = next(item.g for item in node.attribute if item.name == "body")
        initial = [types.get(name) for name in node.input[2:]]
        results = _iteration(model, body, initial, types)
        # A shape that changes is not known, and neither is what follows from it.
        while changed := [
            at
            for at, (before, after) in enumerate(zip(initial, results, strict=False))
            if before is not None and not _same(before, after)
        ]:
            for at in changed:
                initial[at] = None
            results = _iteration(model, body, initial, types)
        for at, kind in enumerate(initial):
            if kind is not None:
                for value in (body.input[2 + at], body.output[1 + at]):
                    value.type.CopyFrom(kind)
        trips = _count(model.graph, node)
        rows = [_stacked(each, trips) for each in results[len(initial) :]]
        for name, kind in zip(node.output, [*initial, *rows], strict=True):
            if kind is not None and name:
                _state(model.graph, name, kind)


def _iteration(
    model: onnx.ModelProto,
    body: onnx.GraphProto,
    carried: Sequence[onnx.TypeProto | None],
    outer: Types,
) -> list[onnx.TypeProto | None]:
    """The types that the results of an iteration have, but for the condition."""
    alone = helper.make_model(
        body,
        opset_imports=model.opset_import,
        functions=model.functions,
        ir_version=model.ir_version,
    )
    for value, kind in zip(alone.graph.input[2:], carried, strict=True):
        if kind is not None:
            value.type.CopyFrom(kind)
        else:
            value.type.tensor_type.ClearField("shape")
    for value in alone.graph.output:
        value.type.tensor_type.ClearField("shape")
    del alone.graph.value_info[:]
    own = {value.name for value in alone.graph.input}
    own |= {tensor.name for tensor in alone.graph.initializer}
    own |= {name for node in alone.graph.node for name in node.output}
    used = {name for node in all_nodes(alone.graph) for name in node.input} - own
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in sorted(used):
        if name in constants:
            alone.graph.initializer.append(constants[name])
        elif name in outer:
            alone.graph.input.append(onnx.ValueInfoProto(name=name, type=outer[name]))
    state_loop_shapes(alone)
    found = _types(alone)
    return [found.get(value.name) for value in body.output[1:]]


def _types(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """The types of the values whose shape is known."""
    graph = with_shapes(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    found = {value.name: value.type for value in values if _is_static(value.type)}
    for tensor in graph.initializer:
        found[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    return found


def _is_static(kind: onnx.TypeProto) -> bool:
    tensor = kind.tensor_type
    return tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)


def _same(a: onnx.TypeProto, b: onnx.TypeProto | None) -> bool:
    if b is None:
        return False
    shapes = [[dim.dim_value for dim in each.tensor_type.shape.dim] for each in (a, b)]
    return shapes[0] == shapes[1]


def _count(graph: onnx.GraphProto, node: onnx.NodeProto) -> int | None:
    """How often a Loop runs whose condition is always true; None where it is not known."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    body = next(item.g for item in node.attribute if item.name == "body")
    made = {name: inner for inner in body.node for name in inner.output}
    going = made.get(body.output[0].name)
    kept = (
        going is not None and going.op_type == "Identity" and going.input[0] == body.input[1].name
    )
    known = len(node.input) > 1 and node.input[0] in constants
    starts = known and (not node.input[1] or node.input[1] in constants)
    if not starts or not kept:
        return None
    if node.input[1] and not numpy_helper.to_array(constants[node.input[1]]).item():
        return 0
    return int(numpy_helper.to_array(constants[node.input[0]]).item())


def _stacked(row: onnx.TypeProto | None, trips: int | None) -> onnx.TypeProto | None:
    """The type of what an iteration adds a row to."""
    if row is None or trips is None:
        return None
    sizes = [dim.dim_value for dim in row.tensor_type.shape.dim]
    return helper.make_tensor_type_proto(row.tensor_type.elem_type, [trips, *sizes])


def _state(graph: onnx.GraphProto, name: str, kind: onnx.TypeProto) -> None:
    for value in (*graph.value_info, *graph.output):
        if value.name == name:
            value.type.CopyFrom(kind)
            return
    graph.value_info.append(onnx.ValueInfoProto(name=name, type=kind))
