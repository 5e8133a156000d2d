"""A batch norm that no convolution absorbs becomes a depthwise 1×1 convolution.

Before a concatenation or in a pre-activation block no convolution stands in front of the norm. As a
convolution it has an integer kernel in both runtimes and per-channel weights, and it can apply the
ReLU that follows.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.passes.steps import NodePass


class BatchNormToDepthwise(NodePass):
    """``BatchNormalization(x)`` → ``Conv(x, weight [C, 1, 1…], bias [C], group=C)``.

    x is float32 [N, C, spatial…], and the statistics are constant.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to a norm of maps that gives nothing but its result."""
        return node.op_type == "BatchNormalization" and node.domain == "" and _is_fixed(node)

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Write the convolution."""
        _replace(editor, node)


def _is_fixed(node: ir.Node) -> bool:
    x = node.inputs[0]
    return (
        x is not None
        and x.dtype == ir.DataType.FLOAT
        and x.shape is not None
        and len(x.shape) >= 3
        and not any(output.uses() for output in node.outputs[1:])
        and all(value is not None and value.const_value is not None for value in node.inputs[1:5])
    )


def _replace(editor: GraphEditor, node: ir.Node) -> None:
    x, out = node.inputs[0], node.outputs[0]
    assert x is not None
    assert x.shape is not None
    gamma, beta, mean, variance = (
        value.const_value.numpy().astype(np.float64)
        for value in node.inputs[1:5]
        if value is not None and value.const_value is not None
    )
    scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    channels = len(scale)
    ones = (1,) * (len(x.shape) - 2)
    weight = scale.astype(np.float32).reshape(channels, 1, *ones)
    bias = (beta - mean * scale).astype(np.float32)
    constants = [
        editor.constant(f"{out.name}_scale", weight),
        editor.constant(f"{out.name}_shift", bias),
    ]
    convolution = ir.node(
        "Conv",
        [x, *constants],
        attributes={"group": channels, "kernel_shape": ones},
        name=node.name,
    )
    ir.convenience.replace_nodes_and_values(
        editor.graph, node, [node], [convolution], [out], [convolution.outputs[0]]
    )
