"""A product of one row with each of several matrices becomes a grouped 1×1 convolution.

A locally connected layer is such a product, and so is an expert that reads one token. In int8 a
convolution has a scale for each output in place of one for all matrices, and it can add a bias and
apply a ReLU. It also takes fewer instructions than the integer product, whose second operand
ONNX Runtime packs anew in each inference.
"""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, describe
from edgeconv.export.passes.steps import NodePass


class RowProductsToConv(NodePass):
    """``MatMul(x [..., p, 1, k], weight [p, k, n])`` → ``Conv(x [..., p k, 1, 1], group=p)``.

    Around the convolution are reshapes. x is float32 of static shape, the weight is constant, and p
    stands for one or more dimensions.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to a product of single rows, each with a constant matrix of its own."""
        if node.op_type != "MatMul" or node.domain != "":
            return False
        x, weight = node.inputs
        if x is None or x.shape is None or not x.shape.is_static() or x.dtype != ir.DataType.FLOAT:
            return False
        if weight is None or weight.const_value is None:
            return False
        shape, matrices = x.shape.numpy(), weight.const_value.shape.numpy()[:-2]
        return len(matrices) > 0 and shape[-len(matrices) - 2 : -1] == (*matrices, 1)

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Write the convolution."""
        x, weight = node.inputs
        assert x is not None
        assert x.shape is not None
        assert weight is not None
        assert weight.const_value is not None
        array, result = weight.const_value.numpy(), node.outputs[0]
        groups, (depth, units) = prod(array.shape[:-2]), array.shape[-2:]
        lead = x.shape.numpy()[: len(x.shape) - array.ndim]
        kernel = array.swapaxes(-1, -2).reshape(groups * units, depth, 1, 1)
        pixels = (prod(lead), groups * depth, 1, 1), (prod(lead), groups * units, 1, 1)
        before = _reshape(editor, x, x, pixels[0], f"{result.name}_row")
        conv = ir.node(
            "Conv",
            [before.outputs[0], _set(editor, weight, kernel)],
            attributes={"group": groups, "kernel_shape": (1, 1)},
            name=node.name,
        )
        conv.outputs[0].name = editor.free_name(f"{result.name}_products")
        describe(conv.outputs[0], x, shape=pixels[1])
        shape = (*lead, *array.shape[:-2], 1, units)
        after = _reshape(editor, conv.outputs[0], x, shape, f"{result.name}_rows")
        ir.convenience.replace_nodes_and_values(
            editor.graph, node, [node], [before, conv, after], [result], [after.outputs[0]]
        )


def _set(editor: GraphEditor, weight: ir.Value, kernel: np.ndarray) -> ir.Value:
    """A weight with new elements, which keeps its name if nothing else reads it."""
    if len(weight.uses()) > 1 or weight.is_graph_input() or weight.is_graph_output():
        return editor.constant(f"{weight.name}_of_rows", kernel)
    tensor = ir.Tensor(np.ascontiguousarray(kernel), name=weight.name)
    weight.const_value, weight.shape = tensor, tensor.shape
    return weight


def _reshape(
    editor: GraphEditor, value: ir.Value, like: ir.Value, shape: tuple[int, ...], name: str
) -> ir.Node:
    target = editor.constant(f"{name}_shape", np.array(shape, np.int64))
    node = ir.node("Reshape", [value, target], name=editor.free_name(name))
    node.outputs[0].name = node.name
    describe(node.outputs[0], like, shape=shape)
    return node
