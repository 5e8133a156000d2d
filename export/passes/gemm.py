"""A matrix product and the bias behind it become one Gemm, whatever the rank of the input.

PyTorch's linear layer on tokens is exported as MatMul and Add. As Gemm the bias is part of the
product: one operator less in both formats, and in int8 an int32 bias in place of an addition with
a range of its own.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, describe, only_consumer
from edgeconv.export.passes.steps import NodePass


class MatMulAddToGemm(NodePass):
    """``Add(MatMul(x [..., k], weight [k, n]), bias [n])`` → ``Gemm(x, weight, bias)``.

    Around the Gemm are reshapes to [-1, k] and [..., n] where x is not a matrix. Weight and bias
    are constant float32, and shapes are static.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to a product with a constant matrix, to which only a constant row is added."""
        return node.op_type == "MatMul" and node.domain == "" and _bias_add(node) is not None

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Write the Gemm."""
        add = _bias_add(node)
        assert add is not None
        _replace(editor, node, add)


def _bias_add(node: ir.Node) -> ir.Node | None:
    """The only reader of ``node``, if it adds a constant row."""
    x, weight = node.inputs
    add = only_consumer(node.outputs[0], "Add")
    if add is None:
        return None
    if x is None or x.shape is None or not x.shape.is_static() or len(x.shape) < 2:
        return None
    if not _is_constant(weight, rank=2) or x.dtype != ir.DataType.FLOAT:
        return None
    bias = _other_input(add, node.outputs[0])
    assert weight is not None
    assert weight.shape is not None
    if not _is_constant(bias, rank=1) or bias is None or bias.shape is None:
        return None
    return add if bias.shape[0] == weight.shape[1] else None


def _other_input(add: ir.Node, product: ir.Value) -> ir.Value | None:
    return next(value for value in add.inputs if value is not product)


def _is_constant(value: ir.Value | None, rank: int) -> bool:
    return (
        value is not None
        and value.const_value is not None
        and value.shape is not None
        and len(value.shape) == rank
    )


def _replace(editor: GraphEditor, node: ir.Node, add: ir.Node) -> None:
    x, weight = node.inputs
    bias = _other_input(add, node.outputs[0])
    result = add.outputs[0]
    assert x is not None
    assert x.shape is not None
    assert weight is not None
    assert weight.shape is not None
    shape = x.shape.numpy()
    units = weight.shape.numpy()[1]
    nodes: list[ir.Node] = []
    rows = int(np.prod(shape[:-1]))
    matrix = x
    if len(shape) > 2:
        matrix = _reshaped(editor, nodes, x, (rows, shape[-1]), f"{result.name}_rows")
    gemm = ir.node("Gemm", [matrix, weight, bias], name=node.name)
    nodes.append(gemm)
    final = gemm.outputs[0]
    if len(shape) > 2:
        final.name = editor.free_name(f"{result.name}_matrix")
        describe(final, x, shape=(rows, units))
        final = _reshaped(editor, nodes, final, (*shape[:-1], units), f"{result.name}_tokens")
    ir.convenience.replace_nodes_and_values(
        editor.graph, add, [node, add], nodes, [result], [final]
    )


def _reshaped(
    editor: GraphEditor, nodes: list[ir.Node], value: ir.Value, shape: tuple[int, ...], name: str
) -> ir.Value:
    target = editor.constant(f"{name}_shape", np.array(shape, np.int64))
    node = ir.node("Reshape", [value, target], name=name)
    result = node.outputs[0]
    result.name = editor.free_name(name)
    describe(result, value, shape=shape)
    nodes.append(node)
    return result
