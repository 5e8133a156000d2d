"""ReduceMean over all spatial axes becomes GlobalAveragePool.

PyTorch's exporter writes adaptive and global pools as ReduceMean, for which ONNX Runtime has no
integer kernel; for GlobalAveragePool it has one.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, describe
from edgeconv.export.passes.steps import NodePass


class MeanToGlobalPool(NodePass):
    """``ReduceMean(x, axes=[2, 3, …], keepdims=k)`` → ``GlobalAveragePool(x)``.

    A Reshape follows where the dimensions are dropped. x is [N, C, spatial…] with a static shape,
    and the opset is 18 or later, where axes are an input.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to a mean over all spatial axes."""
        return node.op_type == "ReduceMean" and node.domain == "" and _is_spatial(node)

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Write the pool."""
        _replace(editor, node)


def _is_spatial(node: ir.Node) -> bool:
    x = node.inputs[0]
    if x is None or x.shape is None or len(x.shape) < 3 or not x.shape.is_static():
        return False
    stated = node.inputs[1] if len(node.inputs) > 1 else None
    axes = None if stated is None else ir.convenience.get_const_tensor(stated)
    if axes is None:
        return False
    rank = len(x.shape)
    return sorted(int(axis) % rank for axis in axes.numpy()) == list(range(2, rank))


def _replace(editor: GraphEditor, node: ir.Node) -> None:
    x, out = node.inputs[0], node.outputs[0]
    assert x is not None
    assert x.shape is not None
    shape = [*list(x.shape)[:2], *[1] * (len(x.shape) - 2)]
    pool = ir.node("GlobalAveragePool", [x], name=node.name)
    pooled = pool.outputs[0]
    describe(pooled, x, shape=shape)
    nodes = [pool]
    keepdims = node.attributes.get_int("keepdims", 1)
    if not keepdims:
        target = editor.constant(f"{out.name}_shape", np.array(shape[:2], np.int64))
        reshape = ir.node("Reshape", [pooled, target], name=f"{node.name}_squeeze")
        describe(reshape.outputs[0], x, shape=shape[:2])
        nodes.append(reshape)
        pooled.name = editor.free_name(f"{out.name}_pooled")
    ir.convenience.replace_nodes_and_values(
        editor.graph, node, [node], nodes, [out], [nodes[-1].outputs[0]]
    )
