"""An assignment to a slice (``y[:, 4:] = scores``) is a Concat of what stays and what is assigned.

PyTorch's exporter writes a ScatterND, whose result has one scale in int8: boxes in pixels beside
scores make every score zero. The parts of a Concat have scales of their own, and TFLite's kernel
of it is the faster one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import Array, GraphEditor, describe, dims_of, known_array
from edgeconv.export.passes.steps import NodePass

# The places of a tensor of more elements are looked at only where they are whole rows.
_MAX_PLACES = 1 << 20


@dataclass(frozen=True)
class _Slab:
    """What an assignment writes: all elements from ``start`` to ``stop`` along ``axis``."""

    axis: int
    start: int
    stop: int


class AssignedParts(NodePass):
    """``ScatterND(x, places, new)`` → ``Concat(x[:start], new, x[stop:])``.

    The places are constants: all that lies between two positions of one axis, in order. The
    Transposes that PyTorch's exporter writes around it, because ScatterND writes along the first
    axis, go. The result has the same bits.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to an assignment to all that lies between two positions of an axis."""
        return _slab(node) is not None

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Join the parts in the order of the axes that they had in front of a Transpose."""
        slab, data, new = _slab(node), node.inputs[0], node.inputs[2]
        assert slab is not None
        assert data is not None
        assert new is not None
        order = _order(new) or _order(data) or tuple(range(len(dims_of(data))))
        writer = _Writer(editor, node, order)
        joined = writer.joined(data, new, slab)
        result = node.outputs[0]
        for reader in [use.node for use in result.uses()]:
            if _perm(reader) != writer.back:
                continue
            if reader.outputs[0].is_graph_output():
                _replace(editor, reader, ir.node("Identity", [joined]))
            else:
                ir.convenience.replace_all_uses_with(reader.outputs[0], joined)
        _replace(editor, node, ir.node("Transpose", [joined], {"perm": order}))


class _Writer:
    """Writes in front of an assignment what it does, with axes in the order before a Transpose.

    Attributes:
        back: The order of axes that undoes the Transpose.
    """

    def __init__(self, editor: GraphEditor, node: ir.Node, order: tuple[int, ...]) -> None:
        self._editor, self._node, self._order = editor, node, order
        self.back = tuple(int(axis) for axis in np.argsort(order))

    def joined(self, data: ir.Value, new: ir.Value, slab: _Slab) -> ir.Value:
        """What the assignment writes beside what it leaves."""
        dims, axis = dims_of(data), self._order[slab.axis]
        size = dims[slab.axis]
        assert isinstance(size, int)
        new = self._in_shape(
            new, [*dims[: slab.axis], slab.stop - slab.start, *dims[slab.axis + 1 :]]
        )
        whole, new = self._moved(data), self._moved(new)
        parts = [
            self._part(whole, axis, 0, slab.start),
            new,
            self._part(whole, axis, slab.stop, size),
        ]
        kept = [part for part in parts if part is not None]
        return self._add("Concat", kept, dims_of(whole), axis=axis) if len(kept) > 1 else new

    def _part(self, whole: ir.Value, axis: int, start: int, stop: int) -> ir.Value | None:
        """What stays of ``whole``; None of nothing."""
        if start == stop:
            return None
        array, dims = known_array(whole), dims_of(whole)
        if array is not None:
            return self._constant(array.take(range(start, stop), axis))
        bounds = [self._constant(np.array([number])) for number in (start, stop, axis)]
        return self._add("Slice", [whole, *bounds], [*dims[:axis], stop - start, *dims[axis + 1 :]])

    def _in_shape(self, new: ir.Value, dims: Sequence[int | ir.SymbolicDim]) -> ir.Value:
        """``new`` in the shape of what it is written to, which may have more or fewer axes."""
        if len(dims_of(new)) == len(dims):
            return new
        return self._add("Reshape", [new, self._constant(np.array(dims, np.int64))], dims)

    def _moved(self, value: ir.Value) -> ir.Value:
        """``value`` in front of the Transpose."""
        producer, array = _producer(value), known_array(value)
        if self.back == self._order == tuple(sorted(self._order)):
            return value
        if array is not None:
            return self._constant(array.transpose(self.back))
        if producer is not None and _perm(producer) == self._order:
            assert producer.inputs[0] is not None
            return producer.inputs[0]
        dims = dims_of(value)
        return self._add("Transpose", [value], [dims[axis] for axis in self.back], perm=self.back)

    def _constant(self, array: Array) -> ir.Value:
        return self._editor.constant(f"{self._node.name}_constant", array)

    def _add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        dims: Sequence[int | ir.SymbolicDim],
        **attributes: int | Sequence[int],
    ) -> ir.Value:
        node = ir.node(op_type, inputs, attributes)
        result = node.outputs[0]
        result.name = node.name = self._editor.free_name(f"{self._node.name}/{op_type}")
        describe(result, self._node.outputs[0], shape=dims)
        self._editor.graph.insert_before(self._node, node)
        return result


def _replace(editor: GraphEditor, node: ir.Node, by: ir.Node) -> None:
    by.name = node.name
    describe(by.outputs[0], node.outputs[0])
    ir.convenience.replace_nodes_and_values(
        editor.graph, node, [node], [by], node.outputs, by.outputs
    )


def _slab(node: ir.Node) -> _Slab | None:
    """What ``node`` writes, if it is an assignment to all between two positions of an axis."""
    if node.op_type != "ScatterND" or node.domain != "" or None in node.inputs[:3]:
        return None
    data, places, new = (value for value in node.inputs[:3] if value is not None)
    if node.attributes.get_string("reduction", "none") != "none":
        return None
    indices = known_array(places)
    if data.shape is None or new.shape is None or indices is None or not indices.size:
        return None
    rows, dims = indices.reshape(-1, indices.shape[-1]), dims_of(data)[: indices.shape[-1]]
    sizes = [size for size in dims if isinstance(size, int)]
    if len(sizes) < len(dims) or (rows.shape[1] > 1 and rows.size > _MAX_PLACES * len(sizes)):
        return None
    if len(dims_of(new)) != len(dims_of(data)) and not (data.shape.is_static()):
        return None
    return _in_order(np.where(rows < 0, rows + sizes, rows), sizes)


def _in_order(rows: Array, sizes: Sequence[int]) -> _Slab | None:
    """The slab that places make up one after the other; ``rows`` has an index for each axis."""
    first, last = rows.min(0), rows.max(0) + 1
    partial = [axis for axis, size in enumerate(sizes) if last[axis] - first[axis] < size]
    if len(partial) > 1 or (first < 0).any() or (last > sizes).any():
        return None
    spans = last - first
    if spans.prod() != len(rows):
        return None
    expected = np.indices(tuple(spans)).reshape(len(sizes), -1).T + first
    if not np.array_equal(rows, expected):
        return None
    axis = partial[0] if partial else 0
    return _Slab(axis, int(first[axis]), int(last[axis]))


def _order(value: ir.Value) -> tuple[int, ...] | None:
    """The order of axes that a Transpose gave ``value``."""
    producer = _producer(value)
    return None if producer is None else _perm(producer)


def _producer(value: ir.Value) -> ir.Node | None:
    """What computes ``value``: no Identity, of which PyTorch's exporter writes some here."""
    producer = value.producer()
    while producer is not None and producer.op_type == "Identity" and producer.inputs[0]:
        producer = producer.inputs[0].producer()
    return producer


def _perm(node: ir.Node) -> tuple[int, ...] | None:
    if node.op_type != "Transpose" or node.domain != "":
        return None
    order = node.attributes.get_ints("perm")
    return None if order is None else tuple(order)
