"""A convolution in front of an InstanceNormalization loses its bias.

The norm subtracts the mean of each channel, and the bias with it. In float32 the bias does harm:
where it is far above what varies, rounding leaves little of that, each runtime rounds in its own
way, and the norm makes the difference large. In int8 the range of the result is smaller without it.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.passes.steps import NodePass

_CONVOLUTIONS = ("Conv", "ConvTranspose")


class BiasBeforeNorm(NodePass):
    """``InstanceNormalization(Conv(x, weight, bias))`` → without the bias, on any rank."""

    def applies(self, node: ir.Node) -> bool:
        """Apply to a convolution with a bias that nothing but such norms reads."""
        return (
            node.op_type in _CONVOLUTIONS
            and node.domain == ""
            and len(node.inputs) > 2
            and node.inputs[2] is not None
            and _is_only_normalized(node.outputs[0])
        )

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Take the bias off."""
        node.replace_input_with(2, None)


def _is_only_normalized(value: ir.Value) -> bool:
    uses = value.uses()
    return (
        bool(uses)
        and not value.is_graph_output()
        and all(
            use.node.op_type == "InstanceNormalization" and use.node.domain == "" and use.idx == 0
            for use in uses
        )
    )
