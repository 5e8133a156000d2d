"""Fourier transforms in ONNX files, as products with matrices where ONNX Runtime's are inexact.

ONNX Runtime transforms a length that is no power of two by Bluestein's algorithm, whose chirps it
computes in float32 (1.31): it is off by 2e-5 of the largest value for 100 points, 1e-4 for 400 and
1e-3 for 4000, where a sum in float32 is off by 1e-6 at most. The windows of speech have 400 points.
"""

from __future__ import annotations

import logging

import numpy as np
import onnx_ir as ir

from edgeconv.errors import Notice
from edgeconv.export.graph_edit import GraphEditor, all_values, known_array
from edgeconv.export.tflite.legalize.inline import inline_and_unroll

logger = logging.getLogger(__name__)

_LARGEST = 1 << 22
"""Numbers of the largest matrix, 16 MiB: the half spectrum of 2,800 real points."""


def with_exact_transforms(model: ir.Model) -> ir.Model:
    """Return ``model`` with matrix products for the transforms that ONNX Runtime computes badly.

    It stays as it is. A warning names what would need too large a matrix.
    """
    opset = model.graph.opset_imports[""]
    found = [index for index, node in enumerate(model.graph) if _is_inexact(node, opset)]
    if not found:
        return model
    copy = model.clone()
    editor, nodes = GraphEditor(copy.graph), list(copy.graph)
    for index in found:
        _write_out(editor, nodes[index])
    return copy


def _is_inexact(node: ir.Node, opset: int) -> bool:
    points = _points(node, opset)
    if points is None or points & (points - 1) == 0:
        return False
    x = node.inputs[0]
    assert x is not None
    assert x.shape is not None
    inverse = node.attributes.get_int("inverse", 0)
    onesided = node.attributes.get_int("onesided", int(node.op_type == "STFT"))
    parts = 2 if x.shape[-1] == 2 and len(x.shape) > 2 else 1
    if points * parts * (points + 2 if onesided and not inverse else 2 * points) <= _LARGEST:
        return True
    logger.warning(
        Notice(
            f"{node.name} ({node.op_type}) has {points} points, and of a number that is no power "
            "of two ONNX Runtime is off by up to a thousandth of the largest value",
            f"transform {1 << points.bit_length()} points, with zeros behind the others, or pass "
            "--format tflite",
        )
    )
    return False


def _points(node: ir.Node, opset: int) -> int | None:
    """The length of a transform, if it and the axis are known."""
    if node.op_type not in ("DFT", "STFT") or node.domain != "":
        return None
    x, *others = node.inputs
    arrays = [None if value is None else known_array(value) for value in others]
    unknown = any(
        array is None and value is not None for value, array in zip(others, arrays, strict=True)
    )
    if x is None or x.shape is None or not x.shape.is_static() or unknown:
        return None
    arrays += [None] * (3 - len(arrays))
    if node.op_type == "STFT":
        _, window, length = arrays
        return len(window) if window is not None else None if length is None else int(length.item())
    length, axis, _ = arrays
    if length is not None:
        return int(length.item())
    # An attribute before opset 20, and another default.
    old = node.attributes.get_int("axis", 1 if opset < 20 else -2)
    size = int(x.shape.numpy()[old if axis is None else int(axis.item())])
    onesided = node.attributes.get_int("onesided", 0) and node.attributes.get_int("inverse", 0)
    return 2 * (size - 1) if onesided else size


def _write_out(editor: GraphEditor, node: ir.Node) -> None:
    """Put what the lowering to TFLite writes for a transform in its place."""
    graph = editor.graph
    alone, given = _alone(node, graph.opset_imports)
    whole = inline_and_unroll(alone).graph
    for value, outside in zip(whole.inputs, given, strict=True):
        ir.convenience.replace_all_uses_with(value, outside)
    for value in list(all_values(whole)):
        if value.is_graph_input():
            continue
        held = value.const_value
        value.name = editor.free_name(f"{node.name}/{value.name}")
        if held is not None:
            new = editor.constant(str(value.name), held.numpy())
            ir.convenience.replace_all_uses_with(value, new)
    (result,) = whole.outputs
    nodes = list(whole)
    whole.outputs.clear()
    whole.remove(nodes)
    for written in nodes:
        if written.op_type == "Reshape":
            _free_first(editor, written)
        written.name = f"{node.name}/{written.name or written.op_type}"
    ir.convenience.replace_nodes_and_values(graph, node, [node], nodes, node.outputs, [result])


def _free_first(editor: GraphEditor, node: ir.Node) -> None:
    """Let the first size of a Reshape follow from the others: it may be that of an open batch."""
    shape = node.inputs[1]
    sizes = None if shape is None else known_array(shape)
    if shape is not None and sizes is not None and sizes.size and (sizes > 0).all():
        node.replace_input_with(1, editor.constant(str(shape.name), np.array([-1, *sizes[1:]])))


def _alone(node: ir.Node, opsets: dict[str, int]) -> tuple[ir.Model, list[ir.Value]]:
    """A model of nothing but ``node``, and the values that its inputs stand for."""
    inputs: list[ir.Value | None] = []
    given: list[ir.Value] = []
    initializers, free = [], []
    for index, value in enumerate(node.inputs):
        if value is None:
            inputs.append(None)
            continue
        held = ir.convenience.get_const_tensor(value)
        copy = ir.Value(name=f"input_{index}", shape=value.shape, type=value.type, const_value=held)
        inputs.append(copy)
        if held is None:
            free.append(copy)
            given.append(value)
        else:
            initializers.append(copy)
    out = ir.Value(name="result", shape=node.outputs[0].shape, type=node.outputs[0].type)
    copied = ir.Node(node.domain, node.op_type, inputs, list(node.attributes.values()),
                     outputs=[out], name="transform")  # fmt: skip
    graph = ir.Graph(free, [out], nodes=[copied], initializers=initializers,
                     opset_imports=dict(opsets), name="alone")  # fmt: skip
    return ir.Model(graph, ir_version=10), given
