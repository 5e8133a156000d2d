"""Activation functions, and the operators that do nothing."""

from __future__ import annotations

from math import inf

import numpy as np

from edgeconv.export.tflite.builder import FLOAT, Stored, codes
from edgeconv.export.tflite.emit.arithmetic import Formula
from edgeconv.export.tflite.emit.elementwise import leaky, table, unary
from edgeconv.export.tflite.forms import Form
from edgeconv.export.tflite.fusion import activation, bounds, needed
from edgeconv.export.tflite.graph import (
    Activation,
    Quantization,
    Tensor,
)
from edgeconv.export.tflite.huge_numbers import may_be_huge
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import Integer, operator

REMOVED = "it is removed before the quantization"

SIGMOID_OUTPUT = Quantization(1 / 256, -128)
TANH_OUTPUT = Quantization(1 / 128, 0)
"""What the int8 kernels of LOGISTIC, SOFTMAX and TANH require of the scales of their results."""
_SATURATED = 128.0
"""The sigmoid of what is further from zero is 0 or 1 in float32."""


@operator("Relu", "Clip", integer=Integer.COMPUTES)
def clip(ctx: NodeLowering) -> None:
    """Relu or Clip that the operator before it could not apply itself."""
    limits = bounds(ctx.node, ctx.builder)
    if limits is None:
        raise ctx.unsupported("its bounds are computed by the network", "make them constant")
    if ctx.integer:
        _integer_clip(ctx, limits)
        return
    fused = activation(limits, None)
    if fused is Activation.NONE:
        ctx.same(0)
    elif fused is not None:
        unary(ctx, fused.name)
    else:
        _limit(ctx, limits, ctx.stored(0).tensor)


def _integer_clip(ctx: NodeLowering, limits: tuple[float, float]) -> None:
    """Limit an int8 tensor.

    Where the range of the result ends at a limit, a change of scale is enough. The other limits are
    MAXIMUM and MINIMUM, because TFLite's own RELU in int8 has no vector code (28x28x128 on a
    Cortex-A72, millions of instructions: RELU 4.33, MAXIMUM 0.05).
    """
    order = ctx.stored(0).order
    x = ctx.builder.quantize(ctx.stored(0).tensor, ctx.wanted)
    low, high = needed(limits, ctx.wanted)
    if not low and not high:
        ctx.builder.bind(ctx.result, Stored(x, order))
        return
    _limit(ctx, (limits[0] if low else -inf, limits[1] if high else inf), x)


def _limit(ctx: NodeLowering, limits: tuple[float, float], x: Tensor) -> None:
    """MAXIMUM and MINIMUM with constants of the tensor's own type."""
    low, high = limits
    order = ctx.stored(0).order
    if low != -inf and high != inf:
        raised = ctx.fresh("raised", x.shape, x.quantization)
        ctx.builder.emit("MAXIMUM", [x, _number(ctx, low, x)], [raised])
        x, low = raised, -inf
    name, number = ("MAXIMUM", low) if low != -inf else ("MINIMUM", high)
    ctx.emit_stored(name, [x, _number(ctx, number, x)], x.shape, order)


def _number(ctx: NodeLowering, number: float, like: Tensor) -> Tensor:
    real = np.array(number, FLOAT)
    if isinstance(like.quantization, Quantization):
        real = codes(real, like.quantization)
    return ctx.builder.constant(np.asarray(real), f"{ctx.name}/bound", like.quantization)


@operator("Sigmoid", integer=Integer.COMPUTES)
def sigmoid(ctx: NodeLowering) -> None:
    """LOGISTIC, whose int8 kernel has one scale for its results; a table for other scales."""
    if not ctx.integer and may_be_huge(ctx.value(0)):
        f = Formula(ctx)
        f.finish(f("LOGISTIC", within_reach(f, f.x)))
        return
    _fixed(ctx, "LOGISTIC", SIGMOID_OUTPUT)


def within_reach(f: Formula, x: Tensor) -> Tensor:
    """Limit a number to where its sigmoid changes in float32."""
    return f("MINIMUM", f("MAXIMUM", x, -_SATURATED), _SATURATED)


@operator("Tanh", integer=Integer.COMPUTES)
def tanh(ctx: NodeLowering) -> None:
    """TANH, whose int8 kernel has one scale for its results; a table for other scales."""
    _fixed(ctx, "TANH", TANH_OUTPUT)


def _fixed(ctx: NodeLowering, name: str, own: Quantization) -> None:
    if ctx.integer and ctx.wanted != own:
        table(ctx, name)
    else:
        unary(ctx, name)


@operator("HardSwish", integer=Integer.COMPUTES)
def hard_swish(ctx: NodeLowering) -> None:
    """HARD_SWISH; in int8 a table, which is exact and takes fewer instructions on ARM.

    TFLite's int8 kernel has 16-bit multipliers and gives one value in 170 one step off
    (docs/rewrites.md).
    """
    table(ctx, "HARD_SWISH")


@operator("LeakyRelu", integer=Integer.COMPUTES)
def leaky_relu(ctx: NodeLowering) -> None:
    """LEAKY_RELU; in int8 a table, which is exact and takes fewer instructions.

    It takes half the instructions of XNNPACK's int8 kernel, an eighth of tflite-runtime 2.14's.
    """
    leaky(ctx, ctx.attributes.get_float("alpha", 0.01))


@operator("Gelu", integer=Integer.COMPUTES)
def gelu(ctx: NodeLowering) -> None:
    """GELU, an operator of ONNX since opset 20.

    In int8 graphs of an earlier opset the formula with Erf or Tanh stays written out, partly in
    float.
    """
    approximate = ctx.attributes.get_string("approximate", "none") == "tanh"
    unary(ctx, "GELU", options={"approximate": approximate})


@operator("HardSigmoid", integer=Integer.COMPUTES)
def hard_sigmoid(ctx: NodeLowering) -> None:
    """relu6(6 alpha x + 6 beta) / 6; in int8 a table."""
    alpha, beta = ctx.attributes.get_float("alpha", 0.2), ctx.attributes.get_float("beta", 0.5)
    f = Formula(ctx)
    if ctx.integer:
        # As ONNX Runtime computes it: a half may lie between two codes.
        scaled = f("MUL", f.x, alpha)
        if ctx.takes(Form.SATURATING_LIMITS) and not needed((-inf, 1.0), ctx.wanted)[1]:
            f.finish(f("ADD", scaled, beta, fused=Activation.RELU))
            return
        line = f("ADD", scaled, beta)
        f.finish(f("MINIMUM", f("MAXIMUM", line, 0.0), 1.0))
        return
    scaled = f.x if abs(6 * alpha - 1) < 1e-6 else f("MUL", f.x, 6 * alpha)
    f.finish(f("MUL", f("ADD", scaled, 6 * beta, fused=Activation.RELU6), 1 / 6))


@operator("Softmax", integer=Integer.COMPUTES)
def softmax(ctx: NodeLowering) -> None:
    """SOFTMAX over the last axis of the stored tensor."""
    shape = ctx.shape(0)
    rank = len(shape)
    axis = ctx.attributes.get_int("axis", -1) % rank
    stored = ctx.stored(0)
    perm = stored.order.nearest_perm(shape)
    if perm[-1] != axis:
        others = [other for other in range(rank) if other != axis]
        perm = (*others, axis)
    x = ctx.builder.placed(stored, shape, perm)
    quantization = SIGMOID_OUTPUT if ctx.integer else None
    ctx.emit("SOFTMAX", [x], perm, {"beta": 1.0}, quantization)


@operator("Identity", integer=Integer.MOVES)
def same(ctx: NodeLowering) -> None:
    """No operator: the result is the input."""
    ctx.same(0)


@operator("Dropout", integer=Integer.MOVES, reason=REMOVED)
def dropout(ctx: NodeLowering) -> None:
    """No operator, outside of training."""
    if ctx.has(2) and ctx.demand_constant(2, "training_mode").item():
        raise ctx.unsupported(
            "training_mode is set",
            "export the network in eval mode, and give functional.dropout training=self.training",
        )
    ctx.same(0)
