"""Bins of a spectrum that are real: their imaginary parts are zero, as PyTorch computes them.

ONNX Runtime misses these zeros by a rounding error, whose sign would decide between the phases π
and -π.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, known_array


def clear_real_bins(graph: ir.Graph) -> None:
    """Change the transforms of real signals in a graph that PyTorch's exporter wrote, in place."""
    editor = GraphEditor(graph)
    for node in list(graph):
        found = _spectrum(node)
        if found is not None:
            _clear(editor, node, found)


@dataclass(frozen=True)
class _Spectrum:
    """The transform of real signals: how long they are, and where its bins lie."""

    length: int
    bins: int
    axis: int
    rank: int


def _spectrum(node: ir.Node) -> _Spectrum | None:
    """What ``node`` computes of real signals; None for other nodes, and where it is not known."""
    if node.op_type not in ("STFT", "DFT") or node.attributes.get_int("inverse", 0) == 1:
        return None
    # The exporter gives a real signal a last dimension of one part.
    unsqueezed = None if node.inputs[0] is None else node.inputs[0].producer()
    if unsqueezed is None or unsqueezed.op_type != "Unsqueeze" or unsqueezed.inputs[1] is None:
        return None
    signal, axes = unsqueezed.inputs[0], known_array(unsqueezed.inputs[1])
    if signal is None or signal.shape is None or axes is None or -1 not in axes:
        return None
    shape = [1, *signal.shape] if 0 in axes else [*signal.shape]
    if node.op_type == "STFT":
        given = None if node.inputs[3] is None else known_array(node.inputs[3])
        size, axis, rank = None if given is None else int(given.item()), 2, 4
        half = node.attributes.get_int("onesided", 1) == 1
    else:
        place = known_array(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        rank = len(shape) + 1
        axis = node.attributes.get_int("axis", 1) if place is None else int(place.item())
        axis %= rank
        size = shape[axis]
        half = node.attributes.get_int("onesided", 0) == 1
    if not isinstance(size, int):
        return None
    return _Spectrum(size, size // 2 + 1 if half else size, axis, rank)


def _clear(editor: GraphEditor, node: ir.Node, found: _Spectrum) -> None:
    """Let the imaginary parts of the first bin and the middle one be zero, without a sign."""
    spectrum = node.outputs[0]
    is_real = np.zeros((found.bins, *[1] * (found.rank - found.axis - 2), 2), bool)
    is_real[0, ..., 1] = True
    if found.length % 2 == 0:
        is_real[found.length // 2, ..., 1] = True
    users = list(spectrum.uses())
    inputs = [spectrum]
    for array, name in ((np.zeros((), np.float32), "zero"), (is_real, "real_bins")):
        constant = editor.constant(f"{spectrum.name}_{name}", array)
        constant.shape = ir.Shape(array.shape)
        constant.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
        inputs.insert(0, constant)
    cleared = ir.node("Where", inputs, name=editor.free_name(f"{spectrum.name}_cleared"))
    result = cleared.outputs[0]
    result.name, result.shape, result.type = cleared.name, spectrum.shape, spectrum.type
    for user, index in users:
        user.replace_input_with(index, result)
    editor.graph.insert_after(node, cleared)
