"""Trigonometric and hyperbolic functions and their inverses, from the functions that TFLite has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from edgeconv.export.tflite.builder import FLOAT
from edgeconv.export.tflite.emit.arithmetic import Formula, emit_formula
from edgeconv.export.tflite.graph import Tensor
from edgeconv.export.tflite.registry import operator


def _atan(f: Formula) -> Tensor:
    """ATAN2 of x and 1; it does not broadcast."""
    ones = f.ctx.builder.constant(np.ones(f.x.shape, FLOAT), f"{f.ctx.name}/ones")
    return f("ATAN2", f.x, ones)


HALF_PI = (1.5703125, 4.837512969970703e-04, 7.549533620476723e-08, 2.5633440682570896e-12)
"""Parts of pi / 2: in float32 products of the first three and numbers up to 2**13 are exact."""

MOST_REDUCED = 12000.0
"""Below it x is that many quarter turns at most; beyond, XNNPACK's own reduction is as good."""


def _tan(f: Formula) -> Tensor:
    """Sin / cos, or -cos / sin, of what is left of x beside a whole number of quarter turns.

    XNNPACK's SIN and COS have an error of 2e-7, which is large beside a value near 0.
    """
    near = f("LESS", f("ABS", f.x), MOST_REDUCED, dtype=np.dtype(bool))
    whole = f("ROUND", f("MUL", f.x, 2 / np.pi))
    none = f.ctx.builder.constant(np.zeros((), FLOAT), f"{f.ctx.name}/none")
    turns = f("SELECT_V2", near, whole, none, dtype=FLOAT)
    rest = f.x
    for part in HALF_PI:
        rest = f("SUB", rest, f("MUL", turns, part))
    sine, cosine = f("SIN", rest), f("COS", rest)
    pairs = f("MUL", f("ROUND", f("MUL", turns, 0.5)), 2.0)
    even = f("EQUAL", turns, pairs, dtype=np.dtype(bool))
    above = f("SELECT_V2", even, sine, f("NEG", cosine), dtype=FLOAT)
    return f("DIV", above, f("SELECT_V2", even, cosine, sine, dtype=FLOAT))


def _other_leg(f: Formula) -> Tensor:
    """sqrt(1 - x²), exact near 1."""
    return f("SQRT", f("MUL", f("SUB", 1.0, f.x), f("ADD", f.x, 1.0)))


def _cosh(f: Formula) -> Tensor:
    """(exp(|x|) + exp(-|x|)) / 2."""
    distance = f("ABS", f.x)
    return f("ADD", _half_exp(f, distance), f("MUL", f("EXP", f("NEG", distance)), 0.5))


def _sinh(f: Formula) -> Tensor:
    """sign(x) (1 - exp(-|x|)) (1 + exp(|x|)) / 2: no difference of two numbers near 1."""
    distance = f("ABS", f.x)
    # ELU is exp(x) - 1 without the rounding of exp(x).
    rest = f("MUL", f("SIGN", f.x), f("NEG", f("ELU", f("NEG", distance))))
    return f("MUL", rest, f("ADD", _half_exp(f, distance), 0.5))


def _half_exp(f: Formula, x: Tensor) -> Tensor:
    """exp(x) / 2, which overflows later than exp(x)."""
    root = f("EXP", f("MUL", x, 0.5))
    return f("MUL", root, f("MUL", root, 0.5))


def _log1p(f: Formula, x: Tensor) -> Tensor:
    """log(1 + x) of a number not between -1 and 0, as precise for small ones as for large ones.

    Up to 0.4 it is 2 artanh(s) of s = x / (2 + x), by its series: XNNPACK's LOG is off by a unit in
    the last place of 1 + x there, whatever is left of its logarithm.
    """
    s = f("DIV", x, f("ADD", x, 2.0))
    square = f("MUL", s, s)
    series = f("ADD", f("MUL", square, 2 / 11), 2 / 9)
    for coefficient in (2 / 7, 2 / 5, 2 / 3, 2.0):
        series = f("ADD", f("MUL", square, series), coefficient)
    small = f("LESS", f("ABS", x), 0.4, dtype=np.dtype(bool))
    log = f("LOG", f("ADD", x, 1.0))
    return f("SELECT_V2", small, f("MUL", s, series), log, dtype=FLOAT)


def _asinh(f: Formula) -> Tensor:
    """sign(x) log1p(|x| + x² / (1 + sqrt(x² + 1)))."""
    distance = f("ABS", f.x)
    # The quotient is 1 from 1e9 on, whose square does not overflow.
    capped = f("MINIMUM", distance, 1e9)
    root = f("SQRT", f("ADD", f("MUL", capped, capped), 1.0))
    more = f("MUL", distance, f("DIV", capped, f("ADD", root, 1.0)))
    return f("MUL", f("SIGN", f.x), _log1p(f, f("ADD", distance, more)))


def _acosh(f: Formula) -> Tensor:
    """log1p(t + sqrt(t) sqrt(t + 2)) of t = x - 1."""
    t = f("SUB", f.x, 1.0)
    root = f("MUL", f("SQRT", t), f("SQRT", f("ADD", f.x, 1.0)))
    return _log1p(f, f("ADD", t, root))


def _atanh(f: Formula) -> Tensor:
    """sign(x) log1p(2 |x| / (1 - |x|)) / 2: NaN beyond 1, where that is below -1."""
    distance = f("ABS", f.x)
    ratio = f("DIV", f("ADD", distance, distance), f("SUB", 1.0, distance))
    return f("MUL", f("MUL", f("SIGN", f.x), 0.5), _log1p(f, ratio))


FORMULAS: dict[str, Callable[[Formula], Tensor]] = {
    "Acos": lambda f: f("ATAN2", _other_leg(f), f.x),
    "Acosh": _acosh,
    "Asin": lambda f: f("ATAN2", f.x, _other_leg(f)),
    "Asinh": _asinh,
    "Atan": _atan,
    "Atanh": _atanh,
    "Cosh": _cosh,
    "Sinh": _sinh,
    "Tan": _tan,
}


for _onnx, _expression in FORMULAS.items():
    operator(_onnx)(partial(emit_formula, formula=_expression))
