"""A float32 ONNX graph becomes one of float16.

ONNX's operator schemas say where half precision is allowed. What takes float32 only (the scales
of a Resize) keeps it, with a Cast in front, and so do sums that are scattered, on which ONNX
Runtime fails when they run. Where it has no other half-precision kernel it computes in float32
between Casts of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from edgeconv.bundle import IoType
from edgeconv.errors import UnsupportedOperator
from edgeconv.export.graph_edit import GraphEditor, constant_array, describe
from edgeconv.export.passes.steps import Step, broken, run
from edgeconv.export.precision.float16_tflite import to_half

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
HALF_TEXT = "tensor(float16)"
# Their result type is an attribute, not the type of an input.
_TYPED_BY_ATTRIBUTE = {"Cast": "to", "EyeLike": "dtype", "RandomNormalLike": "dtype"}


def float16_model(model: ir.Model, io: IoType = IoType.FLOAT32) -> ir.Model:
    """A copy of ``model`` that computes in float16.

    Args:
        model: a float32 graph.
        io: ``FLOAT16`` for inputs and outputs of half precision too; they stay float32 otherwise.

    Raises:
        UnsupportedOperator: the graph has control flow.
        DataError: a weight is too large for float16.
    """
    return run(
        model.clone(), [Step(ToFloat16(io), "the only one: nothing is simplified or removed by it")]
    )


class ToFloat16(ir.passes.InPlacePass):
    """Computes in float16 whatever ONNX allows to."""

    def __init__(self, io: IoType) -> None:
        super().__init__()
        self._io = io

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Convert values, constants and the interface.

        Raises:
            UnsupportedOperator: the graph has control flow.
            DataError: a weight is too large for float16.
        """
        _Conversion(model.graph).run(self._io)
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model: ir.Model) -> None:
        """Ensure that only a Cast, and what has no other form, reads float32."""
        for node in model.graph:
            for value, formal in _formal_inputs(model.graph, node):
                takes_half = HALF_TEXT in formal.types and not _has_no_kernel(node)
                if value.dtype == FLOAT and takes_half and node.op_type != "Cast":
                    raise broken(self, f"{node.name} ({node.op_type}) reads float32")


class _Conversion:
    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._editor = GraphEditor(graph)
        self._cast: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self._constants: set[ir.Value] = set()

    def run(self, io: IoType) -> None:
        for value in self.graph.inputs:
            if value.dtype == FLOAT and io is IoType.FLOAT16:
                value.type = ir.TensorType(HALF)
        for node in list(self.graph):
            self._node(node)
        for index, value in enumerate(self.graph.outputs):
            if {value.dtype, HALF if io is IoType.FLOAT16 else FLOAT} == {FLOAT, HALF}:
                self._output(index, value, HALF if io is IoType.FLOAT16 else FLOAT)
        for constant in self._constants:
            if not constant.uses() and not constant.is_graph_output():
                self.graph.initializers.pop(str(constant.name))

    def _node(self, node: ir.Node) -> None:
        if any(
            attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
            for attribute in node.attributes.values()
        ):
            raise UnsupportedOperator(
                f"{node.name} ({node.op_type}): control flow has no float16 form",
                hint="use --precision float32",
            )
        schema = _schema(self.graph, node)
        halved: set[str] = set()
        for index, value in enumerate(node.inputs):
            if value is None or value.dtype not in (FLOAT, HALF):
                continue
            formal = schema.inputs[min(index, len(schema.inputs) - 1)]
            wanted = HALF if HALF_TEXT in formal.types and not _has_no_kernel(node) else FLOAT
            if wanted is HALF:
                halved.add(formal.type_str)
            node.replace_input_with(index, self._as(value, wanted, node))
        typed = _TYPED_BY_ATTRIBUTE.get(node.op_type)
        if typed and node.attributes.get_int(typed, 0) == FLOAT:
            node.attributes[typed] = ir.AttrInt64(typed, HALF.value)
            halved.add(schema.outputs[0].type_str)
        for index, value in enumerate(node.outputs):
            formal = schema.outputs[min(index, len(schema.outputs) - 1)]
            if value.dtype == FLOAT and formal.type_str in halved:
                value.type = ir.TensorType(HALF)

    def _as(self, value: ir.Value, dtype: ir.DataType, reader: ir.Node) -> ir.Value:
        """``value`` in another type, made once."""
        if value.dtype == dtype:
            return value
        if (value, dtype) not in self._cast:
            made = self._converted(value, dtype, reader)
            self._cast[value, dtype] = made
        return self._cast[value, dtype]

    def _converted(self, value: ir.Value, dtype: ir.DataType, reader: ir.Node) -> ir.Value:
        name = f"{value.name}_{dtype.name.lower()}"
        if value.const_value is not None and value.is_initializer():
            array = _half_constant(value) if dtype is HALF else value.const_value.numpy()
            self._constants.add(value)
            return self._editor.constant(name, array.astype(dtype.numpy()))
        cast = _cast(value, dtype, self._editor.free_name(name))
        producer = value.producer()
        if producer is None:
            # Before the first reader: what reads it later comes later in the graph too.
            self.graph.insert_before(reader, cast)
        else:
            self.graph.insert_after(producer, cast)
        return cast.outputs[0]

    def _output(self, index: int, value: ir.Value, dtype: ir.DataType) -> None:
        """The interface keeps its name; the value before the Cast gets another."""
        name = str(value.name)
        suffix = "float" if value.dtype == FLOAT else "half"
        value.name = self._editor.free_name(f"{name}_{suffix}")
        cast = _cast(value, dtype, name)
        self.graph.append(cast)
        self.graph.outputs[index] = cast.outputs[0]


def _has_no_kernel(node: ir.Node) -> bool:
    """Whether ONNX Runtime fails on it in half precision, when it runs: it sees no type before."""
    scatters = node.op_type in ("ScatterElements", "ScatterND")
    return scatters and node.attributes.get_string("reduction", "none") != "none"


def _schema(graph: ir.Graph, node: ir.Node) -> onnx.defs.OpSchema:
    opset = graph.opset_imports.get(node.domain, 1)
    return onnx.defs.get_schema(node.op_type, opset, node.domain)


def _formal_inputs(
    graph: ir.Graph, node: ir.Node
) -> Iterator[tuple[ir.Value, onnx.defs.OpSchema.FormalParameter]]:
    """The inputs that are there, each with what its operator states of it."""
    schema = _schema(graph, node)
    for index, value in enumerate(node.inputs):
        if value is not None:
            yield value, schema.inputs[min(index, len(schema.inputs) - 1)]


def _half_constant(value: ir.Value) -> npt.NDArray[np.float16]:
    readers = {node.op_type for node in value.consumers()}
    return to_half(constant_array(value), str(value.name), readers)


def _cast(value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
    node = ir.node("Cast", [value], attributes={"to": dtype.value}, name=f"{name}_cast")
    node.outputs[0].name = name
    describe(node.outputs[0], value, dtype=dtype)
    return node
