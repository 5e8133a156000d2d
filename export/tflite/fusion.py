"""Relu and Clip as part of the operator before them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import onnx_ir as ir

from edgeconv.export.tflite.builder import Builder
from edgeconv.export.tflite.graph import Activation, Quantization

LOWEST, HIGHEST = -128, 127


@dataclass(frozen=True)
class Fusion:
    """The activation that an operator applies itself, and the value that it thereby computes."""

    activation: Activation
    result: ir.Value
    absorbed: ir.Node | None = None


def bounds(node: ir.Node, builder: Builder) -> tuple[float, float] | None:
    """The interval that a Relu or Clip limits to; None for another node or computed bounds."""
    if node.op_type == "Relu":
        return 0.0, inf
    if node.op_type != "Clip":
        return None
    limits = [-inf, inf]
    for position, value in enumerate(node.inputs[1:3]):
        if value is None:
            continue
        known = builder.known(value)
        if known is None:
            return None
        limits[position] = float(known.real().item())
    return limits[0], limits[1]


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
    return code(low, quantization) > LOWEST, code(high, quantization) < HIGHEST


def activation(limits: tuple[float, float], quantization: Quantization | None) -> Activation | None:
    """The fused activation that limits to the interval; None where TFLite has none."""
    lower, upper = needed(limits, quantization)
    if not lower and not upper:
        return Activation.NONE
    if limits[0] == 0 and not upper:
        return Activation.RELU
    return {(0.0, 6.0): Activation.RELU6, (-1.0, 1.0): Activation.RELU_N1_TO_1}.get(limits)


def only_consumer(value: ir.Value) -> ir.Node | None:
    consumers = value.consumers()
    if value.is_graph_output() or len(consumers) != 1:
        return None
    return consumers[0]


def fusion(node: ir.Node, builder: Builder, quantization: Quantization | None) -> Fusion:
    """What ``node`` may absorb; ``quantization`` is that of the result after the activation."""
    result = node.outputs[0]
    follower = only_consumer(result)
    limits = bounds(follower, builder) if follower is not None else None
    if follower is not None and limits is not None:
        fused = activation(limits, quantization)
        if fused is not None:
            return Fusion(fused, follower.outputs[0], follower)
    return Fusion(Activation.NONE, result)
