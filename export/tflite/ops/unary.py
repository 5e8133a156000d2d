"""Mathematical functions of one element."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from edgeconv.export.tflite.graph import Tensor
from edgeconv.export.tflite.ops.activation import unary
from edgeconv.export.tflite.ops.formula import Formula
from edgeconv.export.tflite.registry import Integer, operator
from edgeconv.export.tflite.site import Site

NATIVE = {
    "Abs": ("ABS", Integer.COMPUTES),
    "Ceil": ("CEIL", Integer.NONE),
    "Cos": ("COS", Integer.NONE),
    "Exp": ("EXP", Integer.COMPUTES),
    "Floor": ("FLOOR", Integer.NONE),
    "Log": ("LOG", Integer.COMPUTES),
    "Neg": ("NEG", Integer.NONE),
    "Not": ("LOGICAL_NOT", Integer.NONE),
    "Round": ("ROUND", Integer.NONE),
    "Sign": ("SIGN", Integer.NONE),
    "Sin": ("SIN", Integer.NONE),
    "Sqrt": ("SQRT", Integer.COMPUTES),
}

for _onnx, (_tflite, _integer) in NATIVE.items():
    operator(_onnx, integer=_integer)(partial(unary, name=_tflite))


@operator("Elu", integer=Integer.COMPUTES)
def elu(site: Site) -> None:
    """ELU, whose alpha is 1; another alpha scales the negative half."""
    alpha = site.float_attribute("alpha", 1.0)
    if alpha == 1:
        unary(site, "ELU")
        return
    site.refuse_integer("alpha is not 1")
    f = Formula(site)
    f.finish(_two_halves(f, 1.0, alpha))


@operator("Selu")
def selu(site: Site) -> None:
    gamma = site.float_attribute("gamma", 1.05070102214813232421875)
    alpha = site.float_attribute("alpha", 1.67326319217681884765625)
    f = Formula(site)
    f.finish(_two_halves(f, gamma, gamma * alpha))


def _two_halves(f: Formula, above: float, below: float) -> Tensor:
    """above * x where x is positive, below * (exp(x) - 1) elsewhere."""
    negative = f("MUL", f("ELU", f("MINIMUM", f.x, 0.0)), below)
    positive = f("RELU", f.x)
    return f("ADD", negative, positive if above == 1 else f("MUL", positive, above))


def _softplus(f: Formula) -> Tensor:
    """log(1 + exp(x)), written so that exp never overflows."""
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


def _celu(f: Formula, alpha: float) -> Tensor:
    """max(x, 0) + alpha elu(min(x, 0) / alpha)."""
    below = f("ELU", f("MUL", f("MINIMUM", f.x, 0.0), 1 / alpha))
    return f("ADD", f("RELU", f.x), f("MUL", below, alpha))


def _swish(f: Formula, alpha: float) -> Tensor:
    scaled = f.x if alpha == 1 else f("MUL", f.x, alpha)
    return f("MUL", f.x, f("LOGISTIC", scaled))


def _shrink(f: Formula) -> Tensor:
    """x without ``bias`` outside of -lambd to lambd, 0 inside."""
    lambd, bias = f.site.float_attribute("lambd", 0.5), f.site.float_attribute("bias", 0.0)
    above = f("SIGN", f("RELU", f("SUB", f.x, lambd)))
    below = f("SIGN", f("RELU", f("SUB", -lambd, f.x)))
    return f("ADD", f("MUL", above, f("SUB", f.x, bias)), f("MUL", below, f("ADD", f.x, bias)))


FORMULAS: dict[str, Callable[[Formula], Tensor]] = {
    "Erf": _erf,
    "Celu": lambda f: _celu(f, f.site.float_attribute("alpha", 1.0)),
    "Mish": lambda f: f("MUL", f.x, f("TANH", _softplus(f))),
    "Reciprocal": lambda f: f("DIV", 1.0, f.x),
    "Softplus": _softplus,
    "Shrink": _shrink,
    "Softsign": lambda f: f("DIV", f.x, f("ADD", f("ABS", f.x), 1.0)),
    "Swish": lambda f: _swish(f, f.site.float_attribute("alpha", 1.0)),
    "Tan": lambda f: f("DIV", f("SIN", f.x), f("COS", f.x)),
}


def _formula(site: Site, formula: Callable[[Formula], Tensor]) -> None:
    f = Formula(site)
    f.finish(formula(f))


for _onnx, _expression in FORMULAS.items():
    operator(_onnx)(partial(_formula, formula=_expression))


@operator("ThresholdedRelu")
def thresholded_relu(site: Site) -> None:
    """x where x exceeds alpha, else 0."""
    alpha = site.float_attribute("alpha", 1.0)
    f = Formula(site)
    above = f("SIGN", f("RELU", f("SUB", f.x, alpha)))
    f.finish(f("MUL", f.x, above))


@operator("IsNaN")
def is_nan(site: Site) -> None:
    """NOT_EQUAL of x and x."""
    stored = site.stored(0)
    x = stored.tensor
    site.emit_stored("NOT_EQUAL", [x, x], x.shape, stored.order)


@operator("IsInf")
def is_inf(site: Site) -> None:
    """EQUAL of x, or its magnitude, and infinity."""
    stored = site.stored(0)
    x = stored.tensor
    signs = (
        site.integer_attribute("detect_negative", 1),
        site.integer_attribute("detect_positive", 1),
    )
    if signs == (0, 0):
        raise site.unsupported("it detects no infinity", "take it out")
    if signs == (1, 1):
        magnitude = site.fresh("magnitude", x.shape)
        site.builder.emit("ABS", [x], [magnitude])
        x = magnitude
    number = np.array(np.inf if signs[1] else -np.inf, np.float32)
    infinity = site.builder.constant(number, f"{site.name}/infinity")
    site.emit_stored("EQUAL", [x, infinity], x.shape, stored.order)
