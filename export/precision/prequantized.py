"""Networks that arrive in integers: QDQ files of other tools, quantization-aware training."""

from __future__ import annotations

import onnx_ir as ir

from edgeconv.bundle import Precision
from edgeconv.errors import CaptureError
from edgeconv.export.graph_edit import GraphEditor, describe, only_consumer

_BY_ACTIVATION = {
    ir.DataType.INT8: Precision.INT8,
    ir.DataType.UINT8: Precision.INT8,
    ir.DataType.INT16: Precision.INT16X8,
}


def existing_precision(model: ir.Model, name: str) -> Precision | None:
    """The precision of a graph that is quantized already; None for a float graph.

    Args:
        name: of the network, for the message.

    Raises:
        CaptureError: it is quantized in a way that no precision of ours stands for.
    """
    kinds = {node.op_type for node in model.graph}
    if not kinds & {"QuantizeLinear", "DequantizeLinear"}:
        return None
    stored = {node.outputs[0].dtype for node in model.graph if node.op_type == "QuantizeLinear"}
    if not stored:
        raise CaptureError(
            f"{name} stores its weights as integers and computes in float; pass the float network "
            "with --precision int8-dynamic"
        )
    found = {_BY_ACTIVATION.get(dtype) if dtype else None for dtype in stored}
    if len(found) != 1 or None in found:
        types = ", ".join(sorted("unknown" if d is None else d.name.lower() for d in stored))
        raise CaptureError(
            f"{name} quantizes activations to {types}; int8, uint8 or int16 alone are supported"
        )
    return found.pop()


def state_pooled_scales(model: ir.Model) -> None:
    """Quantize the result of each GlobalAveragePool as that of the Reshape behind it is.

    A mean over a map becomes those two, and only the second is followed by its QuantizeLinear. A
    Reshape changes no number, so the scale holds for both.
    """
    editor = GraphEditor(model.graph)
    for node in list(model.graph):
        if node.op_type != "GlobalAveragePool":
            continue
        reshape = only_consumer(node.outputs[0], "Reshape")
        quantize = only_consumer(reshape.outputs[0], "QuantizeLinear") if reshape else None
        if reshape is None or quantize is None:
            continue
        pooled = node.outputs[0]
        first = ir.node("QuantizeLinear", [pooled, *quantize.inputs[1:]])
        second = ir.node("DequantizeLinear", [first.outputs[0], *quantize.inputs[1:]])
        for step, suffix in ((first, "quantized"), (second, "dequantized")):
            step.name = step.outputs[0].name = editor.free_name(f"{pooled.name}_{suffix}")
            describe(step.outputs[0], pooled)
        first.outputs[0].type = quantize.outputs[0].type
        model.graph.insert_after(node, [first, second])
        reshape.replace_input_with(0, second.outputs[0])
