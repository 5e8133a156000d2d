"""The sum of what each element of a kernel reads, over all positions of a convolution.

The mean of a convolution's output over its positions is the kernel times these sums, divided by the
number of positions. They cost as much as a convolution with a single output channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.quantize.layers import constant
from edgeconv.export.window_pads import Windows, cut_in_front

Rows = npt.NDArray[np.int64]

# Elements of a matrix of what is read. Those of images have a few thousand. That of a second of
# sound and a window of 400 samples would have 6 million, and be part of the graph.
_LARGEST_MATRIX = 2**16


class TapSums:
    """The sums of an activation for the layers that read it, in the graph.

    Args:
        editor: Of the graph.
        x: The activation, [N, C, …].
    """

    def __init__(self, editor: GraphEditor, x: ir.Value) -> None:
        self._editor, self._x = editor, x
        self._made: dict[tuple[Axis, ...], str] = {}

    def of(self, node: ir.Node) -> str:
        """The name of the sums for a Conv, ConvTranspose or Gemm; sums that are there serve again.

        They are [N, C, taps…], and for a Gemm the activation itself.
        """
        axes = () if node.op_type == "Gemm" else axes_of(node)
        if axes not in self._made:
            self._made[axes] = self._add(node, axes)
        return self._made[axes]

    def _add(self, reader: ir.Node, axes: tuple[Axis, ...]) -> str:
        """Sum over the last axis, which then becomes the first of space, until all were last."""
        value = self._x
        if axes and all(axis.taps == 1 and axis.reads().all() for axis in axes):
            space = self._editor.constant(f"{value.name}/space", np.arange(2, 2 + len(axes)))
            summed = ir.node("ReduceSum", [value, space])
            return str(self._node(reader, f"{value.name}/sum", summed).name)
        order = [0, 1, len(axes) + 1, *range(2, len(axes) + 1)]
        for axis in reversed(axes):
            name = f"{self._x.name}/taps"
            value, rows = self._folded(reader, name, value, len(axes) + 2, axis)
            reads = self._editor.constant(f"{name}/reads", axis.reads(rows).astype(np.float32))
            value = self._node(reader, name, ir.node("MatMul", [value, reads]))
            if len(axes) > 1:
                turned = ir.node("Transpose", [value], attributes={"perm": order})
                value = self._node(reader, name, turned)
        return str(value.name)

    def _folded(
        self, reader: ir.Node, name: str, value: ir.Value, rank: int, axis: Axis
    ) -> tuple[ir.Value, Rows]:
        """Add up what all taps read alike, where the last axis is long for its matrix.

        Returns:
            What is left of ``value``, and for each place of its last axis one that is read as it.
        """
        first, end = axis.periodic()
        rows = np.arange(axis.size)
        if axis.size * axis.taps <= _LARGEST_MATRIX or end - first <= axis.period:
            return value, rows
        bounds = [self._editor.constant(f"{name}/bound", np.array([at])) for at in (0, first, end)]
        bounds.append(self._editor.constant(f"{name}/bound", np.array([axis.size])))
        last = self._editor.constant(f"{name}/last", np.array([-1]))
        before, between, after = (
            self._node(reader, name, ir.node("Slice", [value, start, stop, last]))
            for start, stop in pairwise(bounds)
        )
        shape = np.array([*(0 for _ in range(rank - 1)), -1, axis.period])
        to_periods = [between, self._editor.constant(f"{name}/periods", shape)]
        periods = self._node(reader, name, ir.node("Reshape", to_periods))
        but_last = self._editor.constant(f"{name}/but_last", np.array([-2]))
        summed = ir.node("ReduceSum", [periods, but_last], attributes={"keepdims": 0})
        parts = [before, self._node(reader, name, summed), after]
        joined = self._node(reader, name, ir.node("Concat", parts, attributes={"axis": -1}))
        return joined, np.concatenate([rows[: first + axis.period], rows[end:]])

    def _node(self, reader: ir.Node, name: str, node: ir.Node) -> ir.Value:
        node.outputs[0].name = self._editor.free_name(name)
        self._editor.graph.insert_before(reader, node)
        return node.outputs[0]


@dataclass(frozen=True)
class Axis:
    """The geometry of a convolution in one dimension.

    Attributes:
        size: The size of what is read.
        positions: The size of the output.
        taps: The size of the kernel.
        stride: The distance between windows, or of inputs where it is transposed.
        dilation: The distance between the elements of a kernel.
        before: The padding before; it is cut off where it is transposed.
        transposed: Whether inputs are scattered.
    """

    size: int
    positions: int
    taps: int
    stride: int
    dilation: int
    before: int
    transposed: bool

    @property
    def period(self) -> int:
        """After how many inputs the same elements of the kernel meet them again."""
        return 1 if self.transposed else self.stride

    def periodic(self) -> tuple[int, int]:
        """Where inputs lie that meet all elements of the kernel that their place allows.

        Returns:
            The first of them, and the end of them, so many whole periods behind.
        """
        least, most = -self.before, (self.taps - 1) * self.dilation - self.before
        if self.transposed:
            first, end = -(least // self.stride), -(-(self.positions - most) // self.stride)
        else:
            first, end = most, self.positions * self.stride + least
        first, end = max(first, 0), min(end, self.size)
        return first, end - max(end - first, 0) % self.period

    def reads(self, rows: Rows | None = None) -> npt.NDArray[np.bool_]:
        """Whether a position reads (or writes) an input by an element of the kernel: [size, taps].

        No two positions read the same input by the same element.

        Args:
            rows: The inputs, all of them by default.
        """
        at = (np.arange(self.size) if rows is None else rows)[:, None]
        offset = np.arange(self.taps) * self.dilation - self.before
        if self.transposed:
            position = at * self.stride + offset
            return (position >= 0) & (position < self.positions)
        position, beside = np.divmod(at - offset, self.stride)
        found: npt.NDArray[np.bool_] = (beside == 0) & (position >= 0) & (position < self.positions)
        return found


def axes_of(node: ir.Node) -> tuple[Axis, ...]:
    """The geometry of a Conv or ConvTranspose of static shapes, in each dimension of space."""
    transposed = node.op_type == "ConvTranspose"
    windows = Windows.of_node(node, constant(node, 1).shape[2:])
    size, positions = (_space(value) for value in (node.inputs[0], node.outputs[0]))
    if transposed:
        front = cut_in_front(node, windows.kernel, size, positions)
    else:
        front = windows.front(size, positions)
    return tuple(
        Axis(
            size[axis],
            positions[axis],
            taps,
            windows.strides[axis],
            windows.dilations[axis],
            front[axis],
            transposed,
        )
        for axis, taps in enumerate(windows.kernel)
    )


def _space(value: ir.Value | None) -> tuple[int, ...]:
    assert value is not None
    assert value.shape is not None
    return tuple(value.shape.numpy()[2:])
