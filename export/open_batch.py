"""Let a graph that was traced at one batch follow the batch of its inputs.

The target of a Reshape has -1 in the place of the batch, a Resize leaves the batch out of its
sizes, and a constant with a row for each sample keeps one row. What cannot follow is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import defs

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.dynamic_batch import (
    OTHER,
    TRACED,
    Shape,
    batched,
    refuse_bags,
    refused,
    static,
)
from edgeconv.export.graph_edit import GraphEditor, describe, known_array

_TO_THE_END = np.iinfo(np.int64).max
_LARGEST_SHAPE_CONSTANT = 1024

_ELEMENTWISE = {
    *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Sum", "Mean", "Where", "PRelu"),
    *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor"),
    *("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift"),
}
_INDEXED = {"GatherElements", "GatherND", "ScatterElements", "ScatterND", "Scatter"}
_WITHIN_ROWS = {"GatherElements", "ScatterElements", "Scatter"}
"""Of these, elements of one row are read and written by the same row of the indices, unless their
axis is the first."""
_RECURRENT = {"LSTM", "GRU", "RNN"}
_OF_CONSTANTS = {"QuantizeLinear", "DequantizeLinear", "Expand"}
"""Between a constant and what reads it in a quantized file."""


def open_batch(model: ir.Model) -> None:
    """Let everything in a graph of the batch TRACED follow the first dimension of its inputs.

    Raises:
        UnsupportedOperator: An operator cannot follow it.
    """
    _Opening(model).run()


class _Opening:
    """Goes through a graph with the shapes that its values have at another batch.

    ``shapes`` has them for each value that follows the batch. ``outer`` has the product of what
    stands before the batch in the dimension that a Reshape made of both.
    """

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.opsets = model.graph.opset_imports
        self.editor = GraphEditor(model.graph)
        self.shapes: dict[ir.Value, Shape] = {}
        self.outer: dict[ir.Value, int] = {}
        self._sizes: dict[tuple[int, int], ir.Value] = {}

    def run(self) -> None:
        """Patch what does not follow, node by node."""
        for value in batched(self.graph):
            self.shapes[value] = (OTHER, *static(value)[1:])
        for node in list(self.graph):
            if any(value in self.shapes for value in _read(node)):
                self._follow(node)
        for value in list(self.graph.initializers.values()):
            if not value.uses() and not value.is_graph_output():
                del self.graph.initializers[str(value.name)]

    def _follow(self, node: ir.Node) -> None:
        if any(value in self.shapes for value in _read(node) - set(node.inputs)):
            raise refused(node, "its body reads what depends on the batch")
        patch: Callable[[ir.Node], None] | None = {
            "Reshape": self._reshape,
            "Expand": self._expand,
            "Resize": self._resize,
            "Slice": self._slice,
            "Split": self._split,
            "Concat": self._concat,
            "MatMul": self._matmul,
            "GridSample": self._grid,
        }.get(node.op_type)
        if node.op_type in _ELEMENTWISE:
            patch = self._elementwise
        elif node.op_type in _RECURRENT:
            patch = self._recurrent
        elif node.op_type in _INDEXED:
            patch = self._indexed
        try:
            if patch is not None and node.domain == "":
                patch(node)
            self._infer(node)
        except UnsupportedOperator:
            refuse_bags(node)
            raise

    def _at(self, value: ir.Value) -> Shape:
        return self.shapes.get(value, static(value))

    def _axis(self, node: ir.Node, value: ir.Value) -> int | None:
        """The dimension in which a value follows the batch."""
        pairs = zip(static(value), self._at(value), strict=True)
        found = [axis for axis, (size, other) in enumerate(pairs) if size != other]
        if len(found) > 1:
            raise refused(node, f"{value.name} has the batch in two dimensions")
        return found[0] if found else None

    def _infer(self, node: ir.Node) -> None:
        """Find the shapes of a node's results at the other batch."""
        given = {value.name or "": value for value in node.inputs if value is not None}
        types = {
            name: ir.serde.serialize_value(
                ir.val(name, dtype=value.dtype, shape=ir.Shape(self._at(value)))
            ).type
            for name, value in given.items()
        }
        constants = {name: known_array(value) for name, value in given.items()}
        data = {
            name: ir.serde.serialize_tensor(ir.tensor(array))
            for name, array in constants.items()
            if array is not None and array.size <= _LARGEST_SHAPE_CONSTANT
        }
        try:
            schema = defs.get_schema(node.op_type, self.opsets[node.domain], node.domain)
            found = onnx.shape_inference.infer_node_outputs(
                schema,
                ir.to_proto(node),
                types,
                data,
                opset_imports=[onnx.helper.make_opsetid(*item) for item in self.opsets.items()],
            )
        except Exception as error:  # what contradicts itself at another batch
            raise refused(node, "its shapes do not fit together at another batch") from error
        for value in (each for each in node.outputs if each.name):
            shape = None
            if value.name in found:
                shape = ir.serde.deserialize_type_proto_for_shape(found[str(value.name)])
            if shape is not None and shape.is_static():
                self._note(node, value, tuple(shape.numpy()))
            else:
                self._note(node, value, self._like_an_input(node, value))

    def _like_an_input(self, node: ir.Node, value: ir.Value) -> Shape:
        """The shape of a result that ONNX does not infer, where it is that of an input."""
        for each in node.inputs:
            if each in self.shapes and static(each) == static(value):
                return self.shapes[each]
        raise refused(node, "ONNX cannot infer the shape of its result")

    def _note(self, node: ir.Node, value: ir.Value, other: Shape) -> None:
        if other == static(value):
            return
        if len(other) != len(static(value)):
            raise refused(node, "its result has other dimensions at another batch")
        self.shapes[value] = other
        if node.op_type == "Reshape" or node.op_type == "Flatten":
            return
        axis = self._axis(node, value) if len(other) == len(static(value)) else None
        for each in node.inputs:
            if axis is not None and each in self.outer:
                own = self._axis(node, each)
                if own is not None and static(each)[own] == static(value)[axis]:
                    self.outer[value] = self.outer[each]

    def _constant(self, node: ir.Node, position: int, array: Sequence[int]) -> None:
        value = self.editor.constant(
            f"{node.outputs[0].name}_{position}", np.array(array, np.int64)
        )
        node.replace_input_with(position, value)

    def _reshape(self, node: ir.Node) -> None:
        """Put -1 where the batch goes."""
        x, result = node.inputs[0], static(node.outputs[0])
        assert x is not None
        axis = self._axis(node, x)
        if axis is None:
            raise refused(node, "its target depends on the batch")
        before = prod(static(x)[:axis]) * self.outer.get(x, 1)
        for place, size in enumerate(result):
            outer = prod(result[:place])
            inside = before // outer
            if before % outer == 0 and size % (inside * TRACED) == 0:
                self._constant(
                    node, 1, [-1 if at == place else each for at, each in enumerate(result)]
                )
                self.outer[node.outputs[0]] = inside
                return
        shapes = (each.replace(", ", "×") for each in (str(static(x)), str(result)))
        raise refused(node, f"the batch of {next(shapes)} is in no dimension of {next(shapes)}")

    def _expand(self, node: ir.Node) -> None:
        """Put 1 into the target where the input has the batch: it stays as it is there."""
        x, result = node.inputs[0], list(static(node.outputs[0]))
        assert x is not None
        axis = self._axis(node, x)
        if axis is None:
            raise refused(node, "its target depends on the batch")
        result[axis - len(static(x))] = 1
        self._constant(node, 1, result)

    def _resize(self, node: ir.Node) -> None:
        """State the scales, or leave the batch out of the sizes where these would round otherwise.

        ONNX Runtime's transpose optimizer takes the sizes of some axes for those of all.
        """
        sizes = node.inputs[3] if len(node.inputs) > 3 else None
        x = node.inputs[0]
        if sizes is None or x is None:
            return
        axis, array = self._axis(node, x), known_array(sizes)
        axes = node.attributes.get_ints("axes", range(len(static(x))))
        if array is None:
            raise refused(node, "its sizes depend on the batch")
        kept = [index for index, each in enumerate(axes) if each % len(static(x)) != axis]
        if len(kept) < len(axes):
            if (scales := _exact_scales(node, static(x))) is not None:
                node.attributes.pop("axes", None)
                name = f"{node.outputs[0].name}_scales"
                node.replace_input_with(2, self.editor.constant(name, scales))
                node.replace_input_with(3, None)
                return
            node.attributes["axes"] = ir.AttrInt64s("axes", [axes[index] for index in kept])
            self._constant(node, 3, [int(array[index]) for index in kept])
            roi = node.inputs[1]
            if roi is not None and (found := known_array(roi)) is not None and found.size:
                raise refused(node, "it crops the batch")

    def _slice(self, node: ir.Node) -> None:
        """Let a slice of the whole batch end at the end."""
        x, *parts = (None if value is None else value for value in node.inputs)
        assert x is not None
        axis, rank = self._axis(node, x), len(static(x))
        arrays = [None if value is None else known_array(value) for value in parts]
        unknown = (value for value, array in zip(parts, arrays, strict=True) if array is None)
        if axis is None or any(value is not None for value in unknown):
            raise refused(node, "its bounds depend on the batch")
        starts, ends = arrays[0], arrays[1]
        assert starts is not None
        assert ends is not None
        axes = range(rank) if len(arrays) < 3 or arrays[2] is None else arrays[2]
        steps = [1] * len(starts) if len(arrays) < 4 or arrays[3] is None else arrays[3]
        for index, each in enumerate(axes):
            if int(each) % rank != axis:
                continue
            size = static(x)[axis]
            if (int(starts[index]), int(steps[index])) != (0, 1):
                raise refused(node, "it takes a part of the batch")
            if int(ends[index]) == size:
                changed = [*map(int, ends)]
                changed[index] = _TO_THE_END
                self._constant(node, 2, changed)

    def _split(self, node: ir.Node) -> None:
        x = node.inputs[0]
        assert x is not None
        axis = self._axis(node, x)
        if axis == node.attributes.get_int("axis", 0) % len(static(x)):
            raise refused(node, "it splits the batch")

    def _elementwise(self, node: ir.Node) -> None:
        """Constants keep one row, which is broadcast."""
        self._align(node, 0, lambda value, axis: self._operand(node, value, axis))

    def _matmul(self, node: ir.Node) -> None:
        self._align(node, 2, lambda value, axis: self._row(node, value, axis))

    def _concat(self, node: ir.Node) -> None:
        """Constants are repeated."""
        rank = len(static(node.outputs[0]))
        joined = node.attributes.get_int("axis", 0) % rank - rank
        self._align(
            node,
            0,
            lambda value, axis: self._repeated(node, value, axis),
            without=joined,
        )

    def _grid(self, node: ir.Node) -> None:
        grid = node.inputs[1]
        if grid is not None and grid not in self.shapes:
            node.replace_input_with(1, self._repeated(node, grid, 0))

    def _indexed(self, node: ir.Node) -> None:
        """Repeat constants with equal rows where each sample reads and writes within its own."""
        given = node.inputs[0]
        assert given is not None
        axis = node.attributes.get_int("axis", 0) % max(1, len(static(given)))
        own_rows = node.op_type in _WITHIN_ROWS and axis != 0
        for position, value in enumerate(node.inputs):
            if value is None or value in self.shapes or TRACED not in static(value)[:1]:
                continue
            if own_rows and known_array(value) is not None:
                node.replace_input_with(position, self._repeated(node, value, 0))
            elif position:
                raise refused(node, f"{value.name} has an index or a value for each sample")

    def _recurrent(self, node: ir.Node) -> None:
        """Leave out initial states of zeros and lengths of the whole sequence; repeat others."""
        batch_first = node.attributes.get_int("layout", 0) == 1
        x = node.inputs[0]
        assert x is not None
        for position, value in enumerate(node.inputs):
            if position < 4 or value is None or value in self.shapes or position == 7:
                continue
            array = known_array(value)
            if array is not None and position == 4:
                if not np.all(array == static(x)[1 if batch_first else 0]):
                    raise refused(node, "its sequences differ in length")
                node.replace_input_with(position, None)
            elif array is not None and not array.any():
                node.replace_input_with(position, None)
            else:
                axis = 0 if batch_first else 1
                node.replace_input_with(position, self._repeated(node, value, axis))

    def _align(
        self,
        node: ir.Node,
        last: int,
        mended: Callable[[ir.Value, int], ir.Value],
        without: int | None = None,
    ) -> None:
        """Mend the operands that have the traced batch where another one follows it.

        Args:
            node: The node.
            last: How many of the last dimensions are not broadcast.
            mended: Gives another operand for one that has the batch in this dimension.
            without: A dimension, counted from the end, in which the operands may differ.
        """
        operands = [value for value in node.inputs if value is not None]
        following = {
            axis - len(static(value)): value
            for value in operands
            if value in self.shapes and (axis := self._axis(node, value)) is not None
        }
        for position, value in enumerate(node.inputs):
            if value is None or value in self.shapes:
                continue
            for axis, leader in following.items():
                shape = static(value)
                if -axis > len(shape) or -axis <= last or axis == without:
                    continue
                if shape[axis] == static(leader)[axis] != 1:
                    node.replace_input_with(position, mended(value, axis % len(shape)))

    def _operand(self, node: ir.Node, value: ir.Value, axis: int) -> ir.Value:
        """One row, or that repeated: ONNX Runtime refuses sums with a scale for each channel."""
        source = value.producer()
        while source is not None and source.op_type in _OF_CONSTANTS and source.inputs[0]:
            scale = None if source.op_type == "Expand" else source.inputs[1]
            if scale is not None and static(scale) != ():
                return self._repeated(node, value, axis)
            source = source.inputs[0].producer()
        return self._row(node, value, axis)

    def _row(self, node: ir.Node, value: ir.Value, axis: int) -> ir.Value:
        array = known_array(value)
        if array is None:
            return self._computed_row(node, value, axis)
        row = np.take(array, [0], axis)
        if not np.array_equal(np.broadcast_to(row, array.shape), array, equal_nan=True):
            raise refused(node, f"the constant {value.name} has other values for each sample")
        found = self.editor.constant(f"{value.name}_row", row)
        describe(found, value, shape=row.shape)
        return found

    def _computed_row(self, node: ir.Node, value: ir.Value, axis: int) -> ir.Value:
        """One row of what a quantized file makes of a constant."""
        producer = value.producer()
        kind = "" if producer is None else producer.op_type
        source = None if producer is None else producer.inputs[0]
        if producer is None or source is None or kind not in _OF_CONSTANTS:
            raise refused(node, f"{value.name} keeps the batch that was traced")
        rest: list[ir.Value | None] = [*producer.inputs[1:]]
        shape = [1 if at == axis else size for at, size in enumerate(static(value))]
        inner = axis - len(shape) + len(static(source))
        if kind == "Expand":
            rest = [self.editor.constant(f"{value.name}_shape", np.array(shape, np.int64))]
        elif rest[0] is None or static(rest[0]) != ():
            raise refused(node, f"{value.name} has a scale for each channel")
        if inner >= 0 and static(source)[inner] != 1:
            source = self._row(node, source, inner)
        made = ir.Node("", kind, [source, *rest], list(producer.attributes.values()))
        row = made.outputs[0]
        made.name = row.name = self.editor.free_name(f"{value.name}_row")
        describe(row, value, shape=shape)
        self.graph.insert_before(node, [made])
        return row

    def _repeated(self, node: ir.Node, value: ir.Value, axis: int) -> ir.Value:
        """One row of a constant, repeated for every sample."""
        if static(value)[axis] != TRACED:
            raise refused(node, f"{value.name} has {static(value)[axis]} rows for each sample")
        row = self._row(node, value, axis)
        rank = len(static(value))
        repeat = ir.node("Expand", [row, self._size_vector(axis, rank)])
        result = repeat.outputs[0]
        repeat.name = result.name = self.editor.free_name(f"{row.name}_repeated")
        describe(result, value)
        self.graph.insert_before(node, [repeat])
        self.shapes[result] = tuple(
            OTHER if at == axis else size for at, size in enumerate(static(value))
        )
        return result

    def _size_vector(self, axis: int, rank: int) -> ir.Value:
        """A shape of so many dimensions that are 1, but for the batch at ``axis``."""
        if (axis, rank) not in self._sizes:
            source = batched(self.graph)[0]
            size = ir.node("Shape", [source], attributes={"start": 0, "end": 1})
            ones = self.editor.constant("ones", np.ones(axis, np.int64))
            more = self.editor.constant("ones", np.ones(rank - axis - 1, np.int64))
            parts = [ones, size.outputs[0], more]
            joined = ir.node(
                "Concat",
                [part for part in parts if part is size.outputs[0] or static(part)[0]],
                attributes={"axis": 0},
            )
            for node, length in ((size, 1), (joined, rank)):
                result = node.outputs[0]
                node.name = result.name = self.editor.free_name(f"batch_of_{source.name}")
                result.shape, result.type = ir.Shape((length,)), ir.TensorType(ir.DataType.INT64)
            self.graph.insert_before(self.graph[0], [size, joined])
            self._sizes[axis, rank] = joined.outputs[0]
        return self._sizes[axis, rank]


def _exact_scales(node: ir.Node, before: Sequence[int]) -> npt.NDArray[np.float32] | None:
    """The factors of all axes by which a Resize gets the sizes that it states; None where none do.

    A runtime divides the sizes in float32 itself, so the elements stay the same to the bit if the
    product is rounded down to the same sizes, in float32 and in float64.
    """
    roi, policy = node.inputs[1], node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    after = static(node.outputs[0])
    if policy != "stretch" or roi is not None or 0 in before:
        return None
    old = np.array(before, np.float32)
    scales: npt.NDArray[np.float32] = np.divide(after, old, dtype=np.float32)
    rounded = np.floor(old * scales), np.floor(old.astype(float) * scales.astype(float))
    return scales if all(np.array_equal(each, after) for each in rounded) else None


def _read(node: ir.Node) -> set[ir.Value | None]:
    """What a node reads, in its bodies too."""
    found = set(node.inputs)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for each in attribute.as_graph().all_nodes():
                found.update(each.inputs)
    return found
