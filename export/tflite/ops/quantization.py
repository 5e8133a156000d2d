"""QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from edgeconv.export.tflite.builder import INT8, Constant, Stored
from edgeconv.export.tflite.graph import WideQuantization
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.qdq import outer, tensor_quantization
from edgeconv.export.tflite.registry import operator


@operator("QuantizeLinear")
def quantize_linear(ctx: NodeLowering) -> None:
    """QUANTIZE, unless the value is already stored with this scale."""
    held = ctx.held(0)
    assert not isinstance(held, Constant)
    quantization = tensor_quantization(ctx.node, ctx.builder)
    tensor = ctx.builder.quantize(held.tensor, quantization)
    ctx.builder.bind(ctx.result, Stored(tensor, held.order))


@operator("DequantizeLinear")
def dequantize_linear(ctx: NodeLowering) -> None:
    """No operator: the float value is represented by its quantized tensor.

    An integer input of the graph gets its scale here.
    """
    held = ctx.held(0)
    assert not isinstance(held, Constant)
    quantization = tensor_quantization(ctx.node, ctx.builder)
    tensor = held.tensor
    own = outer(quantization, tensor.dtype)
    if tensor.quantization is None:
        tensor.quantization = own
    elif tensor.quantization != own:
        raise ctx.unsupported(
            "its scale or zero point differs from those that its input was quantized with",
            "use the same ones, or requantize between the two",
        )
    if isinstance(quantization, WideQuantization):
        tensor.dtype = INT8  # until the whole graph is lowered
    if tensor.dtype != INT8:
        tensor = ctx.builder.quantize(tensor, quantization)
    ctx.builder.bind(ctx.result, Stored(tensor, held.order))
