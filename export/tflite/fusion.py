"""Relu and Clip as part of the operator before them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import onnx_ir as ir

from edgeconv.export.graph_edit import clamp_bounds, only_consumer
from edgeconv.export.tflite.builder import Builder
from edgeconv.export.tflite.graph import (
    Activation,
    Array,
    Quantization,
    WideQuantization,
)
from edgeconv.export.tflite.qdq import is_dequantize, is_quantize, targets, tensor_quantization

LOWEST, HIGHEST = -128, 127
_HIGHEST_INT16 = 32767


@dataclass(frozen=True)
class Fusion:
    """The activation that an operator applies itself, and the value that it thereby computes."""

    activation: Activation
    result: ir.Value
    absorbed: tuple[ir.Node, ...] = ()


def bounds(node: ir.Node, builder: Builder) -> tuple[float, float] | None:
    """The interval that a Relu or Clip limits to; None for another node or computed bounds."""

    def known(value: ir.Value) -> Array | None:
        constant = builder.known(value)
        return None if constant is None else constant.real()

    return clamp_bounds(node, known)


def code(real: float, quantization: Quantization) -> float:
    """The code of a real number before saturation."""
    if real in (-inf, inf):
        return real
    return round(real / quantization.scale) + quantization.zero_point


def needed(limits: tuple[float, float], quantization: Quantization | None) -> tuple[bool, bool]:
    """Whether the lower and the upper limit change anything, given that codes saturate."""
    low, high = limits
    if quantization is None:
        return low != -inf, high != inf
    if isinstance(quantization, WideQuantization):
        # Those of int16 saturate at the same distance on both sides.
        quantization = quantization.int16
        return code(low, quantization) > -_HIGHEST_INT16, code(high, quantization) < _HIGHEST_INT16
    return code(low, quantization) > LOWEST, code(high, quantization) < HIGHEST


def activation(limits: tuple[float, float], quantization: Quantization | None) -> Activation | None:
    """The fused activation that limits to the interval; None where TFLite has none."""
    lower, upper = needed(limits, quantization)
    if not lower and not upper:
        return Activation.NONE
    if limits[0] == 0 and not upper:
        return Activation.RELU
    return {(0.0, 6.0): Activation.RELU6, (-1.0, 1.0): Activation.RELU_N1_TO_1}.get(limits)


def fusion(node: ir.Node, builder: Builder, quantization: Quantization | None) -> Fusion:
    """Find out what ``node`` may absorb.

    Args:
        node: The node.
        builder: Knows the constants.
        quantization: That of the result after the activation; None in float.
    """
    result = node.outputs[0]
    followers = _behind_codes(result, builder, quantization)
    clamp = followers[-1] if followers else None
    limits = bounds(clamp, builder) if clamp is not None else None
    if clamp is not None and limits is not None:
        fused = activation(limits, quantization)
        if fused is not None:
            return Fusion(fused, clamp.outputs[0], followers)
    return Fusion(Activation.NONE, result)


def _behind_codes(
    value: ir.Value, builder: Builder, quantization: Quantization | None
) -> tuple[ir.Node, ...]:
    """Find the clamp that may be fused into the operator that computes ``value``.

    It is the only consumer of ``value``, or stands behind a QuantizeLinear and a DequantizeLinear
    with the scale that the result has anyway: it can as well stand in front of them. ONNX Runtime
    needs the pair there, to see that the operator is quantized.

    Returns:
        The nodes from ``value`` to the clamp.
    """
    first = only_consumer(value)
    if first is None or not is_quantize(first):
        return () if first is None else (first,)
    second = only_consumer(first.outputs[0])
    third = only_consumer(second.outputs[0]) if second is not None else None
    if second is None or third is None or not is_dequantize(second):
        return ()
    scales = {tensor_quantization(node, builder) for node in (first, second)}
    same = scales == {quantization} == targets(third.outputs[0], builder)
    return (first, second, third) if same else ()
