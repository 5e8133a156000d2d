"""A matrix product and the bias behind it are one Gemm, whatever the rank of the input.

PyTorch's linear layer on tokens is exported as MatMul and Add. As Gemm the bias is part of the
product: one operator less in both formats, and in int8 an int32 bias in place of an addition with
a range of its own.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


class MatMulAddToGemm(ir.passes.InPlacePass):
    """``Add(MatMul(x [..., k], weight [k, n]), bias [n])`` →
    ``Reshape(Gemm(Reshape(x, [-1, k]), weight, bias), [..., n])``; without the reshapes where x
    is a matrix. Weight and bias are constant float32, shapes are static.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        changed = False
        for node in list(model.graph):
            if node.op_type != "MatMul" or node.domain != "":
                continue
            add = _bias_add(node)
            if add is not None:
                _replace(model.graph, node, add)
                changed = True
        return ir.passes.PassResult(model, modified=changed)


def _bias_add(node: ir.Node) -> ir.Node | None:
    """The only reader of ``node``, if it adds a constant row."""
    x, weight = node.inputs
    product = node.outputs[0]
    users = list(product.uses())
    if product.is_graph_output() or len(users) != 1 or users[0].node.op_type != "Add":
        return None
    if x is None or x.shape is None or not x.shape.is_static() or len(x.shape) < 2:
        return None
    if not _is_constant(weight, rank=2) or x.dtype != ir.DataType.FLOAT:
        return None
    add = users[0].node
    bias = add.inputs[1 - users[0].idx]
    assert weight is not None
    assert weight.shape is not None
    if not _is_constant(bias, rank=1) or bias is None or bias.shape is None:
        return None
    return add if bias.shape[0] == weight.shape[1] else None


def _is_constant(value: ir.Value | None, rank: int) -> bool:
    return (
        value is not None
        and value.const_value is not None
        and value.shape is not None
        and len(value.shape) == rank
    )


def _replace(graph: ir.Graph, node: ir.Node, add: ir.Node) -> None:
    x, weight = node.inputs
    bias = next(value for value in add.inputs if value is not node.outputs[0])
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
        matrix = _reshaped(graph, nodes, x, (rows, shape[-1]), f"{result.name}_rows")
    gemm = ir.node("Gemm", [matrix, weight, bias], name=node.name)
    nodes.append(gemm)
    final = gemm.outputs[0]
    if len(shape) > 2:
        final.name = f"{result.name}_matrix"
        final.shape, final.type = ir.Shape((rows, units)), x.type
        final = _reshaped(graph, nodes, final, (*shape[:-1], units), f"{result.name}_tokens")
    ir.convenience.replace_nodes_and_values(graph, add, [node, add], nodes, [result], [final])


def _reshaped(
    graph: ir.Graph, nodes: list[ir.Node], value: ir.Value, shape: tuple[int, ...], name: str
) -> ir.Value:
    target = ir.tensor(np.array(shape, np.int64), name=f"{name}_shape")
    constant = ir.val(target.name, const_value=target)
    graph.register_initializer(constant)
    node = ir.node("Reshape", [value, constant], name=name)
    result = node.outputs[0]
    result.name, result.shape, result.type = name, ir.Shape(shape), value.type
    nodes.append(node)
    return result
