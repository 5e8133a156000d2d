"""Values without elements become constants: nothing is left to compute of them.

ONNX Runtime leaves the shape of an empty tensor as it is where a reduction names its axes from the
end, so that a sum over the last axis of (3, 0) has no elements instead of three.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, is_empty


class EmptyValues(ir.passes.InPlacePass):
    """Let the readers of each value without elements read a constant."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Write the constants; outputs of the graph become them, and inputs stay inputs."""
        graph = model.graph
        editor, modified = GraphEditor(graph), False
        computed = [value for node in graph for value in node.outputs]
        for value in (*graph.inputs, *computed):
            if value.is_initializer() or value.dtype is None or not is_empty(value):
                continue
            assert value.shape is not None
            if value.uses() or value.is_graph_output():
                shape, dtype = value.shape.numpy(), value.dtype.numpy()
                nothing = editor.constant(f"{value.name}_empty", np.zeros(shape, dtype))
                value.replace_all_uses_with(nothing, replace_graph_outputs=True)
                modified = True
        return ir.passes.PassResult(model, modified=modified)
