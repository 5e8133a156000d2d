"""Mathematical functions of one element."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

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


FORMULAS: dict[str, Callable[[Formula], Tensor]] = {
    "Erf": _erf,
    "Mish": lambda f: f("MUL", f.x, f("TANH", _softplus(f))),
    "Reciprocal": lambda f: f("DIV", 1.0, f.x),
    "Softplus": _softplus,
    "Softsign": lambda f: f("DIV", f.x, f("ADD", f("ABS", f.x), 1.0)),
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
