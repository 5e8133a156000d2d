"""Layers in float inside a quantized ONNX file, kept from ONNX Runtime's optimizer.

ONNX Runtime (seen in 1.31) takes a Conv, ConvTranspose or Gemm with float weights between a
DequantizeLinear and a QuantizeLinear for one that was left in float by mistake: it rounds the
weights to int8 with one scale for all channels, and the bias to int32, which overflows where the
input is small. A MatMul with an Add behind it becomes a Gemm before. It also takes each AveragePool
between them for one in integers, whatever its kernel makes of it. The optimizer moves both of the
pair past operators that only move elements. It does not look through a Sum, which with one input
computes nothing: there is one in front of each such layer.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, put_before
from edgeconv.export.passes.steps import NodePass, Step, run
from edgeconv.export.quantize.operators import without_integer_pool
from edgeconv.export.traits import Trait, operators

_LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_MOVED_PAST = operators(Trait.MOVES) | {"MaxPool"}
_FUSED_BEHIND = _MOVED_PAST | {"Relu", "Clip", "Add"}


def with_float_layers(model: ir.Model) -> ir.Model:
    """A QDQ graph for ONNX Runtime, in which layers in float are computed in float.

    It is a copy if anything has to change.
    """
    shield = ShieldFloatLayers()
    if not any(shield.applies(node) for node in model.graph):
        return model
    return run(model.clone(), [Step(shield, "the only one")])


class ShieldFloatLayers(NodePass):
    """Writes a Sum in front of each layer in float that stands between integers."""

    def applies(self, node: ir.Node) -> bool:
        """Apply to layers that compute in float, and read and write integers."""
        between = _in_float(node) and _comes_from_integers(node.inputs[0])
        return between and _becomes_integers(node.outputs[0])

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Write the Sum."""
        put_before(editor, node, "Sum", f"{node.outputs[0].name}_in_float")


def _in_float(node: ir.Node) -> bool:
    """Whether a layer has float weights, or is a pool that the int8 kernel does not compute."""
    if node.op_type not in _LAYERS or node.domain != "":
        return bool(without_integer_pool(node))
    weight = node.inputs[1]
    return weight is not None and weight.const_value is not None


def _comes_from_integers(value: ir.Value | None) -> bool:
    producer = None if value is None else value.producer()
    while producer is not None and producer.op_type in _MOVED_PAST:
        source = producer.inputs[0]
        producer = None if source is None else source.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _becomes_integers(value: ir.Value) -> bool:
    return any(
        reader.op_type == "QuantizeLinear"
        or (reader.op_type in _FUSED_BEHIND and _becomes_integers(reader.outputs[0]))
        for reader in value.consumers()
    )
