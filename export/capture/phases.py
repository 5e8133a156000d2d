"""Phases as PyTorch computes them: the sign of an imaginary part that is zero.

``angle`` and ``atan2`` give π for a negative real number, whose imaginary part is +0. PyTorch's
exporter writes -π. And the first and the last half-spectrum bin of a real signal are real, which
ONNX Runtime's STFT misses by a rounding error: its sign would then decide between π and -π.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, known_array


def mend_phases(graph: ir.Graph) -> None:
    """Change a graph that PyTorch's exporter wrote, in place."""
    editor = GraphEditor(graph)
    for node in list(graph):
        if node.op_type == "Greater" and _decides_a_quadrant(node):
            node.op_type = "GreaterOrEqual"
        elif (half := _spectrum(node)) is not None:
            _clear_real_bins(editor, node, *half)


def _decides_a_quadrant(node: ir.Node) -> bool:
    """Whether ``node`` chooses between atan(y / x) + π and atan(y / x) - π by y > 0."""
    y = node.inputs[0]
    for user in node.outputs[0].consumers():
        sides = [value.producer() if value is not None else None for value in user.inputs[1:]]
        if user.op_type != "Where" or [side.op_type for side in sides if side] != ["Add", "Sub"]:
            continue
        slopes = {side.inputs[0] for side in sides if side is not None}
        atan = next(iter(slopes)).producer() if len(slopes) == 1 else None  # type: ignore[union-attr]
        if atan is None or atan.op_type != "Atan" or atan.inputs[0] is None:
            continue
        quotient = atan.inputs[0].producer()
        if quotient is not None and quotient.op_type == "Div" and quotient.inputs[0] is y:
            return True
    return False


def _spectrum(node: ir.Node) -> tuple[int, int, int] | None:
    """The length of the real signals that ``node`` transforms, and its axis and the rank.

    None where they are not known, or the result is no half of a spectrum.
    """
    if node.op_type == "STFT" and node.attributes.get_int("onesided", 1) == 1:
        stated = None if node.inputs[3] is None else known_array(node.inputs[3])
        return None if stated is None else (int(stated.item()), 2, 4)
    attributes = node.attributes
    half = attributes.get_int("onesided", 0) == 1 and attributes.get_int("inverse", 0) == 0
    if node.op_type != "DFT" or not half or node.inputs[0] is None:
        return None
    unsqueezed, found = node.inputs[0].producer(), node.outputs[0].shape
    signal = None if unsqueezed is None else unsqueezed.inputs[0]
    if signal is None or signal.shape is None or found is None:
        return None
    place = known_array(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    axis = attributes.get_int("axis", 1) if place is None else int(place.item())
    length = signal.shape[axis % len(found)]
    if not isinstance(length, int) or found[axis % len(found)] != length // 2 + 1:
        return None
    return length, axis % len(found), len(found)


def _clear_real_bins(editor: GraphEditor, node: ir.Node, length: int, axis: int, rank: int) -> None:
    """Multiply the imaginary parts of the bins that are real by zero."""
    mask = np.ones((length // 2 + 1, *[1] * (rank - axis - 2), 2), np.float32)
    mask[0, ..., 1] = 0
    if length % 2 == 0:
        mask[-1, ..., 1] = 0
    spectrum = node.outputs[0]
    users = list(spectrum.uses())
    factor = editor.constant(f"{spectrum.name}_real_bins", mask)
    factor.shape, factor.type = ir.Shape(mask.shape), ir.TensorType(ir.DataType.FLOAT)
    cleared = ir.node("Mul", [spectrum, factor], name=editor.free_name(f"{spectrum.name}_cleared"))
    result = cleared.outputs[0]
    result.name, result.shape, result.type = cleared.name, spectrum.shape, spectrum.type
    for user, index in users:
        user.replace_input_with(index, result)
    editor.graph.insert_after(node, cleared)
