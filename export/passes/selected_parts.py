"""What is selected from a single part of a Concat is selected from that part.

Networks join a class token with patch tokens, and the next block takes them apart again. In int8
the two would share a scale in between, in which a small token is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, describe
from edgeconv.export.passes.steps import NodePass


class SelectedParts(NodePass):
    """``Slice(Concat(a, b, …))`` → ``a`` or ``Slice(a)``, and so for a Gather of one index.

    Shapes are static, and positions are constants. The result has the same bits.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to what lies within one part of a Concat along the same axis."""
        return _within_part(node) is not None

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Read the part."""
        found = _within_part(node)
        assert found is not None
        out, name = node.outputs[0], str(node.outputs[0].name)
        if node.op_type == "Gather":
            index = np.array(found.start - found.offset, np.int64)
            inputs = [found.part, editor.constant(f"{name}_index", index)]
            selected = ir.node("Gather", inputs, {"axis": found.axis}, name=node.name)
        elif found.is_whole:
            selected = ir.node("Identity", [found.part], name=node.name)
        else:
            bounds = (found.start - found.offset, found.stop - found.offset, found.axis)
            places = [
                editor.constant(f"{name}_{what}", np.array([number], np.int64))
                for what, number in zip(("start", "stop", "axis"), bounds, strict=True)
            ]
            selected = ir.node("Slice", [found.part, *places], name=node.name)
        describe(selected.outputs[0], out)
        ir.convenience.replace_nodes_and_values(
            editor.graph, node, [node], [selected], [out], selected.outputs
        )


@dataclass(frozen=True)
class _Selection:
    """Where a selection lies.

    Attributes:
        part: The part of the Concat.
        axis: The axis of the Concat.
        start: The first element along it, counted from the beginning of the Concat.
        stop: The one behind the last.
        offset: The first element of the part.
    """

    part: ir.Value
    axis: int
    start: int
    stop: int
    offset: int

    @property
    def is_whole(self) -> bool:
        return self.part.shape is not None and self.part.shape[self.axis] == self.stop - self.start


def _within_part(node: ir.Node) -> _Selection | None:
    if node.op_type not in ("Slice", "Gather") or node.domain != "" or node.inputs[0] is None:
        return None
    concat = node.inputs[0].producer()
    shape = node.inputs[0].shape
    if concat is None or concat.op_type != "Concat" or concat.domain != "" or shape is None:
        return None
    axis = concat.attributes.get_int("axis", 0) % len(shape)
    length = shape[axis]
    selected = _selected(node, axis, len(shape))
    if selected is None or not isinstance(length, int):
        return None
    start, stop, _ = slice(*selected).indices(length)
    offset = 0
    for part in concat.inputs:
        size = None if part is None or part.shape is None else part.shape[axis]
        if part is None or not isinstance(size, int):
            return None
        if offset <= start < stop <= offset + size:
            return _Selection(part, axis, start, stop, offset)
        offset += size
    return None


def _selected(node: ir.Node, axis: int, rank: int) -> tuple[int, int | None] | None:
    """The elements that a Slice or a Gather takes along one axis, if it takes all along others."""
    numbers = [
        None if value is None else ir.convenience.get_const_tensor(value)
        for value in node.inputs[1:]
    ]
    if any(tensor is None for tensor in numbers):
        return None
    arrays = [tensor.numpy() for tensor in numbers if tensor is not None]
    if node.op_type == "Gather":
        index = arrays[0]
        if index.ndim or node.attributes.get_int("axis", 0) % rank != axis:
            return None
        return int(index), int(index) + 1 or None
    if len(arrays) < 3 or arrays[2].size != 1 or int(arrays[2][0]) % rank != axis:
        return None
    if len(arrays) > 3 and int(arrays[3][0]) != 1:
        return None
    return int(arrays[0][0]), int(arrays[1][0])
