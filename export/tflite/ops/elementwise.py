"""Operators on elements of several operands that broadcast."""

from __future__ import annotations

from functools import partial

import numpy as np

from edgeconv.export.tflite.builder import FLOAT
from edgeconv.export.tflite.emit.arithmetic import Arithmetic, emit_formula
from edgeconv.export.tflite.emit.elementwise import aligned, binary, chain, leaky, table
from edgeconv.export.tflite.graph import Array, Options
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import ROUNDS_IN_A_RUN, Integer, operator

ARITHMETIC = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL"}
EXTREMES = {"Max": "MAXIMUM", "Min": "MINIMUM"}
COMPARISONS = {
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
}
# Millions of instructions for two maps of 28x28x128 on a Cortex-A72: 1.84 and 0.34.
SLOW_COMPARISON = "TFLite's int8 kernel rescales each element, which is slower than float"
LOGICAL = {"And": "LOGICAL_AND", "Or": "LOGICAL_OR", "Xor": "NOT_EQUAL"}


for _onnx, _tflite in ARITHMETIC.items():
    operator(_onnx, integer=Integer.COMPUTES, fuses=True)(partial(binary, name=_tflite))
for _onnx, _tflite in COMPARISONS.items():
    operator(_onnx, reason=SLOW_COMPARISON)(partial(binary, name=_tflite))
for _onnx, _tflite in LOGICAL.items():
    operator(_onnx)(partial(binary, name=_tflite))


@operator("Div", integer=Integer.COMPUTES, fuses=True, reason=ROUNDS_IN_A_RUN)
def div(ctx: NodeLowering) -> None:
    """DIV, which has no int8 kernel; by one number it is a table in int8.

    28x28x128 on a Cortex-A72 takes millions of instructions: MUL by the reciprocal 0.213, the table
    0.064 (tflite-runtime 2.14, which has no such table: 0.383 and 0.684).
    """
    divisor = ctx.constant(1)
    if ctx.integer and not (divisor is not None and divisor.size == 1 and divisor.item() != 0):
        ctx.refuse_integer("TFLite divides by nothing but a constant number in integers")
    if divisor is None or divisor.size != 1 or ctx.dtype != FLOAT or not ctx.integer:
        binary(ctx, "DIV")
        return
    emit_formula(ctx, lambda f: f("DIV", f.x, float(divisor.item())))


@operator(
    "PRelu",
    integer=Integer.COMPUTES,
    reason="TFLite's int8 kernel is slower than float; with one slope it becomes a LeakyRelu first",
)
def prelu(ctx: NodeLowering) -> None:
    """PRELU in float; LEAKY_RELU if the slopes are one number, in int8 a table.

    TFLite's slopes have no batch dimension. 28x28x128 on a Cortex-A72 takes millions of
    instructions: PRELU in float with DEQUANTIZE and QUANTIZE 0.47, its int8 kernel 5.22.
    """
    slopes = ctx.constant(1)
    if slopes is not None and np.all(slopes == slopes.flat[0]):
        leaky(ctx, float(slopes.flat[0]))
        return
    ctx.refuse_integer("its slopes differ, and TFLite's int8 kernel is slower than float")
    tensors, shape, order = aligned(ctx, (0, 1))
    ctx.emit_stored("PRELU", tensors, shape, order)


def _extreme(ctx: NodeLowering, name: str) -> None:
    """MAXIMUM or MINIMUM of any number of operands.

    In integers all operands have the scale of the result: it makes no difference whether they
    saturate before or after the comparison.
    """
    count = len(ctx.node.inputs)
    tensors, shape, order = aligned(ctx, range(count))
    if ctx.integer:
        tensors = [ctx.builder.quantize(tensor, ctx.wanted) for tensor in tensors]
    chain(ctx, name, tensors, shape, order)


for _onnx, _tflite in EXTREMES.items():
    operator(_onnx, integer=Integer.COMPUTES)(partial(_extreme, name=_tflite))


@operator(
    "Sum", integer=Integer.COMPUTES, fuses=True, reason="it becomes Adds before the quantization"
)
def sum_(ctx: NodeLowering) -> None:
    """ADDs; in int8 only of two inputs.

    With more inputs, the graph states no scale for the sum of some of them.
    """
    if len(ctx.node.inputs) > 2:
        ctx.refuse_integer("nothing states a scale for the sum of some of its inputs")
    tensors, shape, order = aligned(ctx, range(len(ctx.node.inputs)))
    chain(ctx, "ADD", tensors, shape, order)


@operator("Mean")
def mean(ctx: NodeLowering) -> None:
    """ADDs of the inputs, each times one over their number."""
    count = len(ctx.node.inputs)
    tensors, shape, order = aligned(ctx, range(count))
    f = Arithmetic(ctx)
    chain(ctx, "ADD", [f("MUL", tensor, 1 / count) for tensor in tensors], shape, order)


@operator(
    "Where",
    integer=Integer.COMPUTES,
    reason="what a mask fills in, such as -1e9, would take the whole range of the int8 values",
)
def where(ctx: NodeLowering) -> None:
    """SELECT_V2."""
    tensors, shape, order = aligned(ctx, (0, 1, 2))
    if ctx.integer:
        tensors[1:] = [ctx.builder.quantize(tensor, ctx.wanted) for tensor in tensors[1:]]
    ctx.emit_stored("SELECT_V2", tensors, shape, order)


@operator("Pow", integer=Integer.COMPUTES, reason=ROUNDS_IN_A_RUN)
def pow_(ctx: NodeLowering) -> None:
    """POW, which has no int8 kernel; squares and roots have cheaper forms."""
    exponent = ctx.constant(1)
    number = _single(exponent)
    if number not in (0.5, 1, 2):
        ctx.refuse_integer("TFLite has no integer form of it for other exponents than 1/2, 1 and 2")
    if number == 1:
        ctx.same(0)
    elif number == 0.5:
        table(ctx, "SQRT")
    elif number in (2, 3):
        stored = ctx.stored(0)
        x = factor = stored.tensor
        if number == 3:
            factor = ctx.fresh("square", x.shape)
            factor.dtype = x.dtype
            ctx.builder.emit("MUL", [x, x], [factor])
        ctx.emit_stored("MUL", [x, factor], x.shape, stored.order)
    else:
        binary(ctx, "POW")


def _single(array: Array | None) -> float | None:
    return float(array.item()) if array is not None and array.size == 1 else None


@operator("Mod")
def mod(ctx: NodeLowering) -> None:
    """FLOOR_MOD, the sign of which follows the divisor as in ONNX without ``fmod``."""
    binary(ctx, "FLOOR_MOD")


@operator("CumSum")
def cumsum(ctx: NodeLowering) -> None:
    """CUMSUM."""
    rank = len(ctx.shape(0))
    axis = int(ctx.demand_constant(1, "axis").item()) % rank
    perm = ctx.own_perm()
    options: Options = {
        "exclusive": bool(ctx.attributes.get_int("exclusive", 0)),
        "reverse": bool(ctx.attributes.get_int("reverse", 0)),
    }
    along = ctx.builder.integers(np.array(perm.index(axis)), f"{ctx.name}/axis")
    ctx.emit("CUMSUM", [ctx.tensor(0, perm), along], perm, options)
