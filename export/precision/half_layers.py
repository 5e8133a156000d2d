"""Layers of an int8 file that a rule has in float16: computed in float32, of weights in half.

Rounding comes first and is the same for both formats; after that float16 stores the weights as they
are. Runtimes turn them back into float32 when they load the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, constant_array, describe
from edgeconv.export.layer_rules import LayerPrecision
from edgeconv.export.precision.float16_tflite import LEAST_ELEMENTS, to_half
from edgeconv.export.quantize import QuantizedModel


def half_layers(quantized: QuantizedModel) -> frozenset[str]:
    """The names of the nodes that rules have in float16."""
    rules = [names for rule, names in quantized.layers if rule.precision is LayerPrecision.FLOAT16]
    return frozenset(name for names in rules for name in names)


def with_rounded_weights(model: ir.Model, names: Collection[str]) -> ir.Model:
    """A copy of ``model`` in which the weights of these nodes are numbers that float16 has.

    Raises:
        DataError: A weight is beyond 65504.
    """
    copy = model.clone()
    editor = GraphEditor(copy.graph)
    for node, index, value in list(_weights(copy, names)):
        rounded = to_half(constant_array(value), str(value.name), {node.op_type})
        new = editor.constant(f"{value.name}_half", rounded.astype(np.float32))
        describe(new, value)
        node.replace_input_with(index, new)
    return copy


def with_half_weights(model: ir.Model, names: Collection[str]) -> ir.Model:
    """A copy of ``model`` that stores these weights as float16, with a Cast behind each."""
    copy = model.clone()
    editor = GraphEditor(copy.graph)
    for node, index, value in list(_weights(copy, names)):
        stored = editor.constant(f"{value.name}_stored", constant_array(value).astype(np.float16))
        describe(stored, value, dtype=ir.DataType.FLOAT16)
        cast = ir.node("Cast", [stored], {"to": ir.DataType.FLOAT})
        cast.outputs[0].name = cast.name = editor.free_name(f"{value.name}_cast")
        describe(cast.outputs[0], value)
        copy.graph.insert_before(node, cast)
        node.replace_input_with(index, cast.outputs[0])
    ir.passes.common.RemoveUnusedNodesPass()(copy)
    return copy


def _weights(model: ir.Model, names: Collection[str]) -> Iterator[tuple[ir.Node, int, ir.Value]]:
    for node in model.graph:
        for index, value in enumerate(node.inputs):
            if node.name not in names or value is None or value.const_value is None:
                continue
            if value.dtype == ir.DataType.FLOAT and value.const_value.size >= LEAST_ELEMENTS:
                yield node, index, value
