"""Types that TFLite stores and casts, and computes nothing in.

Their values become wider ones: float16 becomes float32, which loses nothing; short integers become
int32 or int64, and are cut to their own type again where a result may have left its range. Inputs
keep their types, with a Cast behind them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.graph_edit import GraphEditor, all_values, describe
from edgeconv.export.tflite.builder import title
from edgeconv.export.tflite.qdq import is_dequantize, is_quantize
from edgeconv.export.tflite.registry import COMPUTED, Integer, rule
from edgeconv.export.traits import Trait, operators

WIDER: Mapping[ir.DataType, ir.DataType] = {
    ir.DataType.FLOAT16: ir.DataType.FLOAT,
    ir.DataType.INT16: ir.DataType.INT32,
    ir.DataType.UINT16: ir.DataType.INT32,
    ir.DataType.UINT32: ir.DataType.INT64,
}
STATES_ITS_TYPE = {"Cast", *COMPUTED}
STAYS_IN_RANGE = {
    *operators(Trait.KEEPS_RANGE),
    *("Mod", "Where", "Clip", "Relu", "BitwiseAnd", "BitwiseOr", "BitwiseXor"),
    *("If", "Loop", "Scan"),
}


def widen_types(model: ir.Model) -> ir.Model:
    """``model`` without arithmetic in a type of WIDER; it is returned as it is where it has none.

    Its outputs are wide as well. Codes of QuantizeLinear and DequantizeLinear keep their type.

    Raises:
        UnsupportedOperator: a BitCast reads or makes float16.
    """
    if not any(value.dtype in WIDER for value in all_values(model.graph)):
        return model
    model = model.clone()
    _Widening(model.graph).run()
    return model


class _Widening:
    """``_narrow``: the values that become wide, with the types that they had."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._editor = GraphEditor(graph)
        self._parts = (graph, *graph.subgraphs())
        codes = {value for node in graph.all_nodes() for value in _codes(node)}
        self._narrow = {
            value: value.dtype
            for value in all_values(graph)
            if value.dtype is not None and value.dtype in WIDER and value not in codes
        }

    def run(self) -> None:
        names = [value.name for value in self._graph.outputs]
        for node in list(self._graph.all_nodes()):
            self._node(node)
        for value in self._narrow:
            tensor = value.const_value
            if tensor is not None and not value.is_graph_input():
                _widen(value)
                assert value.dtype is not None
                array = tensor.numpy().astype(value.dtype.numpy())
                value.const_value = ir.tensor(array, name=value.name)
        for part in self._parts:
            for value in part.inputs:
                if value not in self._narrow:
                    continue
                if part is self._graph:
                    self._cast(value, WIDER[self._narrow[value]])
                else:
                    _widen(value)
        for name, value in zip(names, self._graph.outputs, strict=True):
            if value.name != name:
                (source,) = (item for item in all_values(self._graph) if item.name == name)
                source.name, value.name = value.name, name

    def _node(self, node: ir.Node) -> None:
        result = node.outputs[0]
        short = [value for value in (*node.inputs, result) if value in self._narrow]
        if node.op_type == "BitCast":
            self._check_bits(node)
        if node.op_type in ("BitCast", "CastLike") and short and result.dtype is not None:
            dtype = result.dtype
            node = _stated(node, dtype)
            if dtype in WIDER:
                self._narrow[node.outputs[0]] = dtype
        for value in node.outputs:
            if value not in self._narrow:
                continue
            dtype = self._narrow[value]
            if node.op_type == "Cast" and not value.uses():
                node.attributes["to"] = ir.AttrInt64("to", int(WIDER[dtype]))
                _widen(value)
                continue
            if node.op_type not in STATES_ITS_TYPE:
                _widen(value)
                if _stays_in_range(node, dtype):
                    continue
                value = self._cast(value, dtype)
            self._cast(value, WIDER[dtype])

    def _check_bits(self, node: ir.Node) -> None:
        """Refuse to read the bits of a float16, or as one; to read integers so is a Cast."""
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        if ir.DataType.FLOAT16 in {self._narrow.get(value) for value in values}:
            raise UnsupportedOperator(
                f"{title(node)}: it reads the bits of a float16, which TFLite has no operator for",
                hint="use Cast",
            )

    def _cast(self, value: ir.Value, to: ir.DataType) -> ir.Value:
        """Let everybody who reads ``value`` read it as ``to``."""
        users = list(value.uses())
        name = self._editor.free_name(f"{value.name}_{to.name}")
        node = ir.node("Cast", [value], {"to": int(to)}, name=name)
        result = node.outputs[0]
        result.name = name
        describe(result, value, dtype=to)
        for user, index in users:
            user.replace_input_with(index, result)
        for part in self._parts:
            for index, output in enumerate(part.outputs):
                if output is value:
                    part.outputs[index] = result
        producer = value.producer()
        first = next(iter(self._graph), None)
        if producer is not None and producer.graph is not None:
            producer.graph.insert_after(producer, node)
        elif first is not None:
            self._graph.insert_before(first, node)
        else:
            self._graph.append(node)
        return result


def _codes(node: ir.Node) -> Iterator[ir.Value]:
    """The integers that a QuantizeLinear or DequantizeLinear gives, reads or counts from."""
    values = [*node.inputs[2:3]]
    if is_quantize(node):
        values += node.outputs
    elif is_dequantize(node):
        values.append(node.inputs[0])
    else:
        return
    yield from (value for value in values if value is not None)


def _widen(value: ir.Value) -> None:
    assert value.dtype is not None
    value.type = ir.TensorType(WIDER[value.dtype])  # a clone shares its types with the original


def _stays_in_range(node: ir.Node, dtype: ir.DataType) -> bool:
    """Whether the result needs not be cut to ``dtype``; a float loses nothing by being longer."""
    found = rule(node.op_type)
    moves = found is not None and found.integer is Integer.MOVES
    return not dtype.is_integer() or moves or node.op_type in STAYS_IN_RANGE


def _stated(like: ir.Node, dtype: ir.DataType) -> ir.Node:
    """A CastLike, or a BitCast of integers, as a Cast to ``dtype``."""
    value = like.outputs[0]
    cast = ir.node("Cast", [like.inputs[0]], {"to": int(dtype)}, name=like.name)
    describe(cast.outputs[0], value, dtype=dtype)
    assert like.graph is not None
    ir.convenience.replace_nodes_and_values(like.graph, like, [like], [cast], [value], cast.outputs)
    return cast
