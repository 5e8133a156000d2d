"""Resize over stated axes becomes a Resize over all of them.

ONNX Runtime's transpose optimizer (1.31) takes the sizes of some axes for those of all: behind an
int8 pool it refused the graph.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, known_array
from edgeconv.export.passes.steps import NodePass

_SCALES, _SIZES = 2, 3


class ResizeAllAxes(NodePass):
    """``Resize(x, sizes=[h, w], axes=[2, 3])`` → ``Resize(x, sizes=[n, c, h, w])``; scales alike.

    x and the result have static shapes. A region and a policy that keeps the aspect ratio are of
    the stated axes, so a node that has one stays.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to a Resize with axes."""
        if node.op_type != "Resize" or node.domain != "" or "axes" not in node.attributes:
            return False
        policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
        x, region, scales, sizes = _inputs(node)
        stated = sizes is not None or (scales is not None and known_array(scales) is not None)
        static = _is_static(x) and _is_static(node.outputs[0])
        return policy == "stretch" and region is None and stated and static

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """State all sizes or scales."""
        result = node.outputs[0]
        axes, shape = list(node.attributes.get_ints("axes", ())), result.shape
        assert shape is not None
        _, _, scales, sizes = _inputs(node)
        known = None if scales is None else known_array(scales)
        whole = np.array(shape.numpy(), np.int64)
        if sizes is None:
            assert known is not None
            whole = np.ones(len(shape), known.dtype)
            whole[axes] = known
        constant = editor.constant(f"{result.name}_whole", whole)
        node.replace_input_with(_SCALES if sizes is None else _SIZES, constant)
        node.attributes.pop("axes")


def _inputs(node: ir.Node) -> tuple[ir.Value | None, ...]:
    return (*node.inputs, None, None, None)[: _SIZES + 1]


def _is_static(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and value.shape.is_static()
