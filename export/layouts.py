"""Which four-dimensional inputs and outputs of a graph have their channels last.

ONNX computes on N x C x H x W. A network that was built for N x H x W x C, as those of Keras are,
transposes its input first, and maybe its output last: these are channels last as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx_ir as ir

from edgeconv.bundle import Layout
from edgeconv.export.traits import Trait, operators

_TO_CHANNELS_FIRST = (0, 3, 1, 2)
_TO_CHANNELS_LAST = (0, 2, 3, 1)
_KEEPS_AXES = {
    *operators(Trait.FUNCTION | Trait.COMMUTES),
    *("Add", "Sub", "Mul", "Div", "Pow", "Cast", "Dropout", "Identity", "Pad", "Slice"),
    *("DequantizeLinear", "QuantizeLinear"),
}
"""Operators whose result has the axes of their data, so that they may stand before a Transpose."""


def layout_of(value: ir.Value) -> Layout | None:
    """Find the layout of an input or output of a graph.

    Returns:
        NHWC where the graph transposes the input to NCHW, or the output from it; otherwise NCHW,
        which is ONNX's own. None for a value that has not four dimensions.
    """
    if value.shape is None or len(value.shape) != 4:
        return None
    if value.is_graph_input():
        last = _meets(value, _readers, _TO_CHANNELS_FIRST)
    else:
        last = _meets(value, _writer, _TO_CHANNELS_LAST)
    return Layout.NHWC if last else Layout.NCHW


def _readers(value: ir.Value) -> Iterable[tuple[ir.Node, ir.Value]]:
    """The nodes that read ``value`` as their data, each with its result."""
    for node, index in value.uses():
        if index == 0 or node.op_type not in ("Pad", "Slice"):
            yield node, node.outputs[0]


def _writer(value: ir.Value) -> Iterable[tuple[ir.Node, ir.Value]]:
    """The node that computes ``value``, with each of its operands of as many dimensions."""
    node = value.producer()
    for operand in () if node is None else node.inputs:
        if node is not None and operand is not None and operand.const_value is None:
            yield node, operand


def _meets(
    start: ir.Value,
    step: Callable[[ir.Value], Iterable[tuple[ir.Node, ir.Value]]],
    perm: tuple[int, ...],
) -> bool:
    """Whether a path from ``start`` meets a transposition by ``perm`` and nothing else before."""
    seen, ahead = {start}, [start]
    while ahead:
        for node, value in step(ahead.pop()):
            if node.domain != "":
                continue
            if _transposes(node, perm):
                return True
            if node.op_type in _KEEPS_AXES and value not in seen:
                seen.add(value)
                ahead.append(value)
    return False


def _transposes(node: ir.Node, perm: tuple[int, ...]) -> bool:
    """Whether ``node`` is a Transpose by ``perm``, or a Reshape of one channel that is one."""
    if node.op_type == "Transpose":
        stated = node.attributes.get("perm")
        return stated is not None and tuple(stated.as_ints()) == perm
    data = node.inputs[0] if node.op_type == "Reshape" else None
    shapes = [None if item is None else item.shape for item in (data, node.outputs[0])]
    if any(shape is None or not shape.is_static() or len(shape) != 4 for shape in shapes):
        return False
    before, after = (tuple(shape.numpy()) for shape in shapes if shape is not None)
    channel = 3 if perm == _TO_CHANNELS_FIRST else 1
    return before[channel] == 1 and after == tuple(before[axis] for axis in perm)
