"""QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from edgeconv.export.tflite.builder import INT8, Constant, Stored
from edgeconv.export.tflite.node_lowering import Site
from edgeconv.export.tflite.qdq import outer, tensor_quantization
from edgeconv.export.tflite.registry import operator


@operator("QuantizeLinear")
def quantize_linear(site: Site) -> None:
    """A QUANTIZE, unless the value is already held in these codes."""
    held = site.held(0)
    assert not isinstance(held, Constant)
    quantization = tensor_quantization(site.node, site.builder)
    tensor = site.builder.quantize(held.tensor, quantization)
    site.builder.bind(site.result, Stored(tensor, held.order))


@operator("DequantizeLinear")
def dequantize_linear(site: Site) -> None:
    """Nothing: the float value is held by its codes.

    An integer input of the graph learns here what its codes mean.
    """
    held = site.held(0)
    assert not isinstance(held, Constant)
    quantization = tensor_quantization(site.node, site.builder)
    tensor = held.tensor
    own = outer(quantization, tensor.dtype)
    if tensor.quantization is None:
        tensor.quantization = own
    elif tensor.quantization != own:
        raise site.unsupported(
            "its scale or zero point differs from those that its input was quantized with",
            "use the same ones, or requantize between the two",
        )
    if tensor.dtype != INT8:
        tensor = site.builder.quantize(tensor, quantization)
    site.builder.bind(site.result, Stored(tensor, held.order))
