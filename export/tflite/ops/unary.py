"""Mathematical functions of one element."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from edgeconv.export.tflite.builder import Stored
from edgeconv.export.tflite.emit.arithmetic import Arithmetic, Formula, emit_formula
from edgeconv.export.tflite.emit.elementwise import table, unary
from edgeconv.export.tflite.graph import Quantization, Tensor
from edgeconv.export.tflite.huge_numbers import may_be_huge
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.ops.activation import within_reach
from edgeconv.export.tflite.registry import ROUNDS_IN_A_RUN, Integer, operator

QUANTIZED = {"Abs", "Neg", "Celu", "Selu", "Softplus"}
"""The functions that the quantizer quantizes: activation functions, and those that lose nothing."""

TABLES = {
    "Abs": "ABS",
    "Ceil": "CEIL",
    "Cos": "COS",
    "Floor": "FLOOR",
    "Log": "LOG",
    "Neg": "NEG",
    "Round": "ROUND",
    "Sign": "SIGN",
    "Sin": "SIN",
    "Sqrt": "SQRT",
}
"""Operators without a good int8 kernel.

ABS takes 100 times the instructions of a table, and SQRT 30 times with half of the values off by
one (benchmarks/results/integer_operators.md); tflite-runtime 2.14 has neither SQRT nor LOG in int8.
"""

for _onnx, _tflite in TABLES.items():
    _reason = "" if _onnx in QUANTIZED else ROUNDS_IN_A_RUN
    operator(_onnx, integer=Integer.COMPUTES, reason=_reason)(partial(table, name=_tflite))
operator("Not")(partial(unary, name="LOGICAL_NOT"))


@operator("Exp", integer=Integer.COMPUTES, reason=ROUNDS_IN_A_RUN)
def exp(ctx: NodeLowering) -> None:
    """EXP, which in XNNPACK is infinite from 88.38 on, where float32 is from 88.73, and 0 for NaN.

    Below -87.34 it is 0 there, too. TFLite's own kernel, and tflite-runtime 2.14, have neither.
    """
    unary(ctx, "EXP")


@operator("Elu", integer=Integer.COMPUTES)
def elu(ctx: NodeLowering) -> None:
    """ELU, whose alpha is 1; for another alpha, LEAKY_RELU scales the negative half."""
    alpha = ctx.attributes.get_float("alpha", 1.0)
    if alpha == 1:
        unary(ctx, "ELU")
        return
    f = Formula(ctx)
    f.finish(_elu(f, alpha))


def _elu(f: Formula, alpha: float) -> Tensor:
    return f("LEAKY_RELU", f("ELU", f.x), options={"alpha": alpha})


def _selu(f: Formula) -> Tensor:
    """Multiply elu(x) by gamma."""
    gamma = f.ctx.attributes.get_float("gamma", 1.05070102214813232421875)
    alpha = f.ctx.attributes.get_float("alpha", 1.67326319217681884765625)
    return f("MUL", _elu(f, alpha), gamma)


LARGEST_POWER = 80.0
"""The largest number whose exp is far from overflowing."""


def _softplus(f: Formula) -> Tensor:
    """log(1 + exp(x)), written so that exp never overflows."""
    if f.ctx.integer:
        if largest_magnitude(f.ctx.stored(0)) > LARGEST_POWER:
            f.ctx.refuse_integer("its largest input is too large for exp")
        return f("LOG", f("ADD", f("EXP", f.x), 1.0))
    tail = f("LOG", f("ADD", f("EXP", f("NEG", f("ABS", f.x))), 1.0))
    return f("ADD", f("RELU", f.x), tail)


def _erf(f: Formula) -> Tensor:
    """Abramowitz and Stegun 7.1.26: off by at most 1.5e-7."""
    distance = f("ABS", f.x)
    t = f("DIV", 1.0, f("ADD", f("MUL", distance, 0.3275911), 1.0))
    polynomial: Tensor | float = 1.061405429
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        polynomial = f("ADD", f("MUL", t, polynomial), coefficient)
    decay = f("EXP", f("NEG", f("MUL", f.x, f.x)))
    tail = f("MUL", f("MUL", t, polynomial), decay)
    return f("MUL", f("SIGN", f.x), f("SUB", 1.0, tail))


def _celu(f: Formula) -> Tensor:
    """Multiply elu(x / alpha) by alpha."""
    alpha = f.ctx.attributes.get_float("alpha", 1.0)
    if alpha == 1:
        return f("ELU", f.x)
    return f("MUL", f("ELU", f("MUL", f.x, 1 / alpha)), alpha)


def _shrink(f: Formula) -> Tensor:
    """Move x by ``bias`` towards 0 outside of -lambd to lambd; 0 inside.

    Where a factor is 0, MAXIMUM and MINIMUM keep infinity from what it multiplies.
    """
    lambd, bias = f.ctx.attributes.get_float("lambd", 0.5), f.ctx.attributes.get_float("bias", 0.0)
    above = f("SIGN", f("RELU", f("SUB", f.x, lambd)))
    below = f("SIGN", f("RELU", f("SUB", -lambd, f.x)))
    high, low = f("MAXIMUM", f.x, lambd), f("MINIMUM", f.x, -lambd)
    return f("ADD", f("MUL", above, f("SUB", high, bias)), f("MUL", below, f("ADD", low, bias)))


FORMULAS: dict[str, Callable[[Formula], Tensor]] = {
    "Erf": _erf,
    "Celu": _celu,
    "Reciprocal": lambda f: f("DIV", 1.0, f.x),
    "Selu": _selu,
    "Softplus": _softplus,
    "Shrink": _shrink,
    "Softsign": lambda f: f("DIV", f.x, f("ADD", f("ABS", f.x), 1.0)),
}


CHAINS = {"Celu", "Reciprocal", "Selu", "Softplus"}
"""Formulas whose operators each read the result of the one before: XNNPACK makes a table of
them."""

for _onnx, _expression in FORMULAS.items():
    _integer = Integer.COMPUTES if _onnx in CHAINS else Integer.NONE
    _reason = ROUNDS_IN_A_RUN if _onnx in CHAINS - QUANTIZED else ""
    operator(_onnx, integer=_integer, reason=_reason)(partial(emit_formula, formula=_expression))


UNIT_RANGE = Quantization(1 / 255, -128)
"""The quantization of numbers from 0 to 1."""


def _gated(ctx: NodeLowering, gate: Callable[[Formula], Tensor]) -> None:
    """Emit x times a function of x between 0 and 1.

    In integers the function is quantized by itself, if 8 bits move the result by less than a step.
    XNNPACK makes a table of the whole.
    """
    f = Formula(ctx)
    share = gate(f)
    if not ctx.integer:
        f.finish(f("MUL", f.x, share))
        return
    stored = ctx.stored(0)
    x = stored.tensor
    if largest_magnitude(stored) * UNIT_RANGE.scale / 2 > ctx.wanted.scale:
        ctx.refuse_integer("its factor in 8 bits is too coarse for the scale of its result")
    codes = ctx.fresh("gate", x.shape, UNIT_RANGE)
    ctx.builder.emit("QUANTIZE", [share], [codes])
    ctx.emit_stored("MUL", [x, codes], x.shape, stored.order)


def largest_magnitude(stored: Stored) -> float:
    """Return the largest real number that the tensor can represent, without its sign."""
    codes = stored.quantization
    assert codes is not None
    return codes.scale * max(127 - codes.zero_point, 128 + codes.zero_point)


@operator("Swish", integer=Integer.COMPUTES)
def swish(ctx: NodeLowering) -> None:
    """LOGISTIC of alpha x, times x."""
    alpha = ctx.attributes.get_float("alpha", 1.0)

    def gate(f: Formula) -> Tensor:
        x = f.x if alpha == 1 else f("MUL", f.x, alpha)
        reaches = ctx.integer or not may_be_huge(ctx.value(0))
        return f("LOGISTIC", x if reaches else within_reach(f, x))

    _gated(ctx, gate)


@operator("Mish", integer=Integer.COMPUTES)
def mish(ctx: NodeLowering) -> None:
    """TANH of softplus(x), times x; in float x n / (n + 2), where n is exp(x) (exp(x) + 2)."""
    _gated(ctx, _mish_gate)


def _mish_gate(f: Formula) -> Tensor:
    if f.ctx.integer:
        return f("TANH", _softplus(f))
    # The logarithm of nearly one has few digits left. Beyond 20 the quotient is one.
    power = f("EXP", f("MINIMUM", f.x, 20.0))
    n = f("MUL", power, f("ADD", power, 2.0))
    return f("DIV", n, f("ADD", n, 2.0))


@operator("ThresholdedRelu")
def thresholded_relu(ctx: NodeLowering) -> None:
    """Keep x where it exceeds alpha; 0 elsewhere.

    MAXIMUM keeps minus infinity from the factor 0.
    """
    alpha = ctx.attributes.get_float("alpha", 1.0)
    f = Formula(ctx)
    above = f("SIGN", f("RELU", f("SUB", f.x, alpha)))
    f.finish(f("MUL", f("MAXIMUM", f.x, alpha), above))


@operator("IsNaN")
def is_nan(ctx: NodeLowering) -> None:
    """NOT_EQUAL of x and x."""
    stored = ctx.stored(0)
    x = stored.tensor
    ctx.emit_stored("NOT_EQUAL", [x, x], x.shape, stored.order)


@operator("IsInf")
def is_inf(ctx: NodeLowering) -> None:
    """EQUAL of x, or its magnitude, and infinity."""
    stored = ctx.stored(0)
    x = stored.tensor
    signs = (
        ctx.attributes.get_int("detect_negative", 1),
        ctx.attributes.get_int("detect_positive", 1),
    )
    if signs == (0, 0):
        raise ctx.unsupported("it detects no infinity", "take it out")
    if signs == (1, 1):
        x = Arithmetic(ctx)("ABS", x)
    number = np.array(np.inf if signs[1] else -np.inf, np.float32)
    infinity = ctx.builder.constant(number, f"{ctx.name}/infinity")
    ctx.emit_stored("EQUAL", [x, infinity], x.shape, stored.order)
