"""Files that quantize activations while they run become networks of float activations.

ONNX Runtime's ``quantize_dynamic`` writes ``DynamicQuantizeLinear → MatMulInteger → Cast → Mul``:
integers of the activation by the range that it has in that very inference, times those of the
weight, times both scales. Without the rounding of the activation that is a product of the
activation itself with the weight that the integers mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeconv.errors import CaptureError
from edgeconv.export.graph_edit import Array, GraphEditor, describe, known_array, only_consumer

QUANTIZER = "DynamicQuantizeLinear"
DYNAMIC = {
    *("DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "MatMulIntegerToFloat"),
    *("DynamicQuantizeMatMul", "DynamicQuantizeLSTM"),
}
"""Operators that quantize activations while they run, or read such ones."""

_FLOAT_FORM = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}
FLOAT_NETWORK = (
    "pass the float network that it was made from; --precision int8-dynamic quantizes it likewise"
)


def write_in_float(model: ir.Model) -> None:
    """Write the integer products of ``model`` as float ones, in place.

    Raises:
        CaptureError: The integers of a product are not scaled back, or one of its operands is
            neither constant nor quantized while the network runs.
    """
    editor = GraphEditor(model.graph)
    for graph in (model.graph, *model.graph.subgraphs()):
        for node in list(graph):
            if node.domain == "" and node.op_type in _FLOAT_FORM:
                _write(editor, graph, node)


@dataclass(frozen=True)
class _Factors:
    """What scales the integers of a product back.

    Attributes:
        result: The scaled product.
        constant: The constant factors, in float32.
        nodes: The nodes from the integers to ``result``.
    """

    result: ir.Value
    constant: tuple[Array, ...]
    nodes: tuple[ir.Node, ...]


def dynamic_source(value: ir.Value | None) -> ir.Node | None:
    """The DynamicQuantizeLinear whose integers ``value`` is."""
    node = None if value is None else value.producer()
    found = node is not None and node.op_type == QUANTIZER and value is node.outputs[0]
    return node if found else None


def _write(editor: GraphEditor, graph: ir.Graph | ir.Function, node: ir.Node) -> None:
    sources = [dynamic_source(value) for value in node.inputs[:2]]
    factors = _factors(node, {source.outputs[1] for source in sources if source is not None})
    operands, left = [], list(factors.constant)
    for index, source in enumerate(sources):
        if source is not None:
            operands.append(source.inputs[0])
            continue
        real = _centered(node, index)
        if index == 1:
            real, left = _scaled(real, left, convolves=node.op_type == "ConvInteger")
        operand = editor.constant(f"{factors.result.name}_operand", real)
        rows = _gather(node.inputs[index])
        operands.append(operand if rows is None else _gathered(editor, graph, rows, operand))
    product = ir.node(_FLOAT_FORM[node.op_type], operands, node.attributes, name=node.name)
    made = [product]
    for factor in left:
        constant = editor.constant(f"{factors.result.name}_factor", factor)
        made.append(ir.node("Mul", [made[-1].outputs[0], constant]))
    for each in made:
        describe(each.outputs[0], factors.result)
        each.outputs[0].name = editor.free_name(f"{factors.result.name}_float")
        each.name = each.name or each.outputs[0].name
    ir.convenience.replace_nodes_and_values(
        graph, node, factors.nodes, made, [factors.result], [made[-1].outputs[0]]
    )


def _factors(node: ir.Node, wanted: set[ir.Value]) -> _Factors:
    """Follow the integers through a Cast and products until all of ``wanted`` are multiplied in."""
    cast = only_consumer(node.outputs[0], "Cast")
    if cast is None or cast.outputs[0].dtype not in (None, ir.DataType.FLOAT):
        raise _refusal(node, "its integers do not become float at once")
    value, nodes = cast.outputs[0], [node, cast]
    constant: list[Array] = []
    while wanted:
        times = only_consumer(value, "Mul")
        if times is None:
            raise _refusal(node, "its integers are not multiplied by the scales of both operands")
        other = times.inputs[1] if times.inputs[0] is value else times.inputs[0]
        for leaf in _leaves(other):
            known = known_array(leaf)
            if leaf in wanted:
                wanted = wanted - {leaf}
            elif known is not None:
                constant.append(np.asarray(known, np.float32))
            else:
                raise _refusal(node, f"its integers are multiplied by {leaf.name}")
        value = times.outputs[0]
        nodes.append(times)
    return _Factors(value, tuple(constant), tuple(nodes))


def _leaves(value: ir.Value | None) -> Iterator[ir.Value]:
    """What a value is the product of."""
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Mul" and node.domain == "":
        for each in node.inputs:
            yield from _leaves(each)
    elif value is not None:
        yield value


def _centered(node: ir.Node, index: int) -> Array:
    """A constant operand without its zero point."""
    value = node.inputs[index]
    rows = _gather(value)
    codes = None if value is None else known_array(_table(value, rows))
    if value is None or codes is None:
        raise _refusal(node, f"its operand {index} is quantized neither here nor by the file")
    stated = node.inputs[index + 2] if len(node.inputs) > index + 2 else None
    zero = np.zeros((), np.int32) if stated is None else known_array(stated)
    if zero is None:
        raise _refusal(node, f"the zero point of {value.name} is computed by the network")
    if zero.size == 1:
        zero = zero.reshape(())
    elif zero.ndim == 1 and (index == 0 or node.op_type == "ConvInteger"):  # one per row, or filter
        zero = zero.reshape(-1, *[1] * (codes.ndim - 1 if index else 1))
    return np.asarray(codes.astype(np.int32) - zero.astype(np.int32), np.float32)


def _gather(value: ir.Value | None) -> ir.Node | None:
    """The node that reads ``value`` from rows of a table, as an embedding does."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == "Gather" else None


def _table(value: ir.Value, rows: ir.Node | None) -> ir.Value:
    return value if rows is None or rows.inputs[0] is None else rows.inputs[0]


def _gathered(
    editor: GraphEditor, graph: ir.Graph | ir.Function, rows: ir.Node, table: ir.Value
) -> ir.Value:
    """The same rows of another table."""
    node = ir.node("Gather", [table, rows.inputs[1]], rows.attributes)
    result = node.outputs[0]
    describe(result, rows.outputs[0], dtype=ir.DataType.FLOAT)
    node.name = result.name = editor.free_name(f"{rows.outputs[0].name}_real")
    graph.insert_after(rows, node)
    return result


def _scaled(weight: Array, factors: list[Array], *, convolves: bool) -> tuple[Array, list[Array]]:
    """Multiply a weight by those factors that are one number per output; return the others too."""
    left = []
    outputs = weight.shape[0] if convolves else weight.shape[-1]
    behind = weight.ndim - 2 if convolves else 0  # dimensions of the result behind that of outputs
    for factor in factors:
        shape = factor.shape[::-1]
        if factor.size == 1 and factor.ndim <= weight.ndim:
            weight = weight * factor.reshape(())
        elif shape[behind : behind + 1] == (outputs,) and factor.size == outputs:
            weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1 if convolves else 0))
        else:
            left.append(factor)
    return np.asarray(weight, np.float32), left


def _refusal(node: ir.Node, what: str) -> CaptureError:
    name = node.name or node.outputs[0].name
    return CaptureError(
        f"{name} ({node.op_type}) is quantized at run time: {what}", hint=FLOAT_NETWORK
    )
