"""QuantizeLinear and DequantizeLinear in terms of TFLite's quantized tensors.

Inside a TFLite graph activations are int8. ONNX may state them as uint8: the same integers,
shifted by 128 together with their zero point.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite.builder import INT8, Builder, Constant, title
from edgeconv.export.tflite.graph import (
    Array,
    ChannelQuantization,
    Quantization,
    WideQuantization,
)
from edgeconv.export.traits import Trait, operators

_PASSED = operators(Trait.MOVES) | {"Clip", "MaxPool", "Relu"}
UINT8 = np.dtype("uint8")
INT16 = np.dtype("int16")
SHIFT = 128


def is_quantize(node: ir.Node) -> bool:
    """Return whether ``node`` is a QuantizeLinear."""
    return node.op_type == "QuantizeLinear"


def is_dequantize(node: ir.Node) -> bool:
    """Return whether ``node`` is a DequantizeLinear."""
    return node.op_type == "DequantizeLinear"


def parameters(node: ir.Node, builder: Builder) -> tuple[Array, Array, np.dtype[Any]]:
    """Scale, zero point, and the integer type of a Q or DQ node; of scale's shape or scalar.

    Raises:
        UnsupportedOperator: scale or zero point are not constant.
    """
    known = [None if value is None else builder.known(value) for value in node.inputs[1:3]]
    if not known or any(item is None for item in known):
        raise UnsupportedOperator(
            f"{title(node)}: scale and zero point are not constant",
            hint="quantize statically, because TFLite fixes them in the file",
        )
    scale = known[0].real() if known[0] is not None else np.float32(1)
    codes = node.inputs[0] if is_dequantize(node) else node.outputs[0]
    dtype = UINT8 if codes is None or codes.dtype is None else codes.dtype.numpy()
    zero = known[1].array if len(known) > 1 and known[1] is not None else np.zeros((), dtype)
    return scale, zero, zero.dtype if len(known) > 1 else dtype


def tensor_quantization(node: ir.Node, builder: Builder) -> Quantization:
    """The quantization of an activation by a Q or DQ node, as of an int8 tensor.

    Raises:
        UnsupportedOperator: TFLite has no such activations.
    """
    scale, zero, dtype = parameters(node, builder)
    if scale.size == 1 and dtype == INT16 and not zero.any():
        return WideQuantization.of_int16(float(scale.reshape(-1)[0]))
    if scale.size != 1 or dtype not in (INT8, UINT8):
        kind = dtype.name if scale.size == 1 else "per-channel"
        remedy = "quantize activations per tensor to int8 or uint8"
        if dtype == INT16:
            kind = "int16 (zero point other than 0)"
            remedy += ", or to int16 symmetrically"
        raise UnsupportedOperator(f"{title(node)}: {kind} activations have no TFLite form", remedy)
    shift = SHIFT if dtype == UINT8 else 0
    return Quantization(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]) - shift)


def outer(quantization: Quantization, dtype: np.dtype[Any]) -> Quantization:
    """The same quantization for a tensor of ``dtype``, int8 or uint8."""
    if dtype != UINT8:
        return quantization
    return Quantization(quantization.scale, quantization.zero_point + SHIFT)


def targets(value: ir.Value, builder: Builder) -> set[Quantization]:
    """The quantizations that ``value`` is used in; empty where it is also used as it is."""
    if value.is_graph_output() or not all(is_quantize(node) for node in value.consumers()):
        return set()
    return {tensor_quantization(node, builder) for node in value.consumers()}


def computes_means(node: ir.Node) -> bool:
    """Whether an operator that keeps the scale of its input rounds new values to it."""
    if node.op_type == "Resize":
        return node.attributes.get_string("mode", "nearest") != "nearest"
    return node.op_type == "AveragePool"


def stays_quantized(value: ir.Value) -> bool:
    """Whether ``value`` is only read quantized, be it behind what moves elements or cuts them."""
    return not value.is_graph_output() and all(
        is_quantize(node) or (node.op_type in _PASSED and stays_quantized(node.outputs[0]))
        for node in value.consumers()
    )


def meaning(node: ir.Node, codes: Constant, builder: Builder) -> Constant | None:
    """A dequantized constant in the form that TFLite can state, codes kept; None if it cannot.

    It knows the reals that a QuantizeLinear rounded.
    """
    scale, zero, dtype = parameters(node, builder)
    array = codes.array
    if dtype == UINT8:
        array = (array.astype(np.int16) - SHIFT).astype(INT8)
        zero = zero.astype(np.int16) - SHIFT
    if array.dtype not in (INT8, np.dtype("int32")) or "block_size" in node.attributes:
        return None
    if scale.size == 1:
        quantization = Quantization(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]))
        return Constant(array, quantization, _before_rounding(node, builder))
    if np.any(zero):
        return None
    axis = node.attributes.get_int("axis", 1) % array.ndim
    return Constant(array, ChannelQuantization(scale.astype(np.float32), axis))


def _before_rounding(dequantize: ir.Node, builder: Builder) -> Array | None:
    """The constant that a QuantizeLinear in front of ``dequantize`` rounds, if there is one."""
    codes = dequantize.inputs[0]
    quantize = None if codes is None else codes.producer()
    source = None if quantize is None or not is_quantize(quantize) else quantize.inputs[0]
    known = None if source is None else builder.known(source)
    return None if known is None else known.real()
