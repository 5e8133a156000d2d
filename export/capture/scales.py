"""Scales and zero points of a file's own quantization, before anything computes with them.

LiteRT ends the process on a scale of zero, and a runtime names no node that has none.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.errors import CaptureError
from edgeconv.export.graph_edit import Array, dims_of, known_array

_QUANTIZING = {"QuantizeLinear", "DequantizeLinear"}
_LOOK = "look at how the file was quantized, and make it again"


def refuse_bad_scales(model: ir.Model) -> None:
    """Refuse constant scales of activations that are no positive numbers, or do not fit.

    Raises:
        CaptureError: There is one.
    """
    for node in model.graph.all_nodes():
        if node.op_type not in _QUANTIZING or node.domain or len(node.inputs) < 2:
            continue
        of, scale = node.inputs[0], node.inputs[1]
        scales = None if scale is None else known_array(scale)
        if of is None or scales is None or known_array(of) is not None:
            continue
        name = f"{node.name or node.outputs[0].name} ({node.op_type})"
        bad = scales[~(np.isfinite(scales) & (scales >= np.finfo(np.float32).tiny))]
        if bad.size:
            raise CaptureError(
                f"{name} has a scale of {bad.flat[0]:.3g} for the activation {of.name!r}", _LOOK
            )
        _refuse_misfit(node, of, scales, name)


def _refuse_misfit(node: ir.Node, of: ir.Value, scales: Array, name: str) -> None:
    """Refuse scales that are not one for all, or one for each index of an axis."""
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    zeros = None if zero is None else known_array(zero)
    if zeros is not None and zeros.size != scales.size:
        raise CaptureError(f"{name} has {scales.size} scales and {zeros.size} zero points", _LOOK)
    block: int = node.attributes.get_int("block_size", 0)
    if scales.size == 1 or of.shape is None or block:
        return
    dims, axis = dims_of(of), node.attributes.get_int("axis", 1)
    if not -len(dims) <= axis < len(dims):
        raise CaptureError(
            f"{name} has scales along axis {axis}, and {of.name!r} has {len(dims)} dimensions",
            _LOOK,
        )
    if scales.ndim != 1 or dims[axis] != scales.size:
        raise CaptureError(
            f"{name} has scales of shape {list(scales.shape)}, and {of.name!r} has "
            f"{dims[axis]} indices along axis {axis}",
            _LOOK,
        )
    if of.is_graph_input() or node.outputs[0].is_graph_output():
        kind = "input" if of.is_graph_input() else "output"
        value = of if of.is_graph_input() else node.outputs[0]
        raise CaptureError(
            f"{name} has a scale for each channel of the {kind} {value.name!r}, and files have one",
            hint=f"quantize the {kind} by one scale where the file is made",
        )
