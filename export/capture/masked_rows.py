"""Attention of which every key is masked: it is zero, as in PyTorch (``_safe_softmax``).

PyTorch's exporter fills a boolean mask with the least float32, whose Softmax is never the NaN that
it then looks for, and leaves additive masks as they are, whose Softmax is NaN.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.capture.module_names import traced_call
from edgeconv.export.graph_edit import GraphEditor, describe

_ATTENTION = "scaled_dot_product_attention"


def zero_masked_rows(graph: ir.Graph) -> None:
    """Let rows without a key be zero, in place, where a mask may have such rows.

    An additive mask that does not depend on an input is left as it is: the samples show its rows.
    """
    editor, computed = GraphEditor(graph), set(graph.inputs)
    for node in graph:
        if any(value in computed for value in node.inputs):
            computed.update(node.outputs)
    for node in list(graph):
        add = node.inputs[0].producer() if node.op_type == "Softmax" and node.inputs[0] else None
        call = traced_call(node)
        if add is None or add.op_type != "Add" or call is None or call.operator != _ATTENTION:
            continue
        mask = add.inputs[1]
        assert mask is not None
        if any(reader.op_type == "IsNaN" for reader in node.outputs[0].consumers()):
            _fill_with_infinity(editor, mask)
        elif mask in computed:
            _guard(editor, node.outputs[0])


def _fill_with_infinity(editor: GraphEditor, mask: ir.Value) -> None:
    where = mask.producer()
    if where is None or where.op_type != "Where" or where.inputs[1] is None:
        return
    fill = _typed(editor, f"{mask.name}_masked", -np.inf, where.inputs[1])
    editor.graph.insert_before(where, fill)
    where.replace_input_with(2, fill.outputs[0])


def _guard(editor: GraphEditor, weights: ir.Value) -> None:
    """Put zeros in the place of NaN."""
    readers, producer = list(weights.uses()), weights.producer()
    assert producer is not None
    zero = _typed(editor, f"{weights.name}_zero", 0.0, weights)
    empty = ir.node("IsNaN", [weights])
    chosen = ir.node("Where", [empty.outputs[0], zero.outputs[0], weights])
    for node, kind in ((empty, "empty"), (chosen, "kept")):
        node.outputs[0].name = editor.free_name(f"{weights.name}_{kind}")
    describe(chosen.outputs[0], weights)
    for node in (zero, empty, chosen):
        node.metadata_props.update(producer.metadata_props)
    editor.graph.insert_after(producer, [zero, empty, chosen])
    for node, index in readers:
        node.replace_input_with(index, chosen.outputs[0])


def _typed(editor: GraphEditor, name: str, number: float, like: ir.Value) -> ir.Node:
    """The operator that gives a number the type of ``like``, which the exporter may not state."""
    constant = editor.constant(f"{name}_number", np.array(number, np.float32))
    node = ir.node("CastLike", [constant, like])
    node.outputs[0].name = editor.free_name(name)
    return node
