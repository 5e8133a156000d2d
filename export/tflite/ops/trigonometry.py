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


def _other_leg(f: Formula) -> Tensor:
    """sqrt(1 - x²), exact near 1."""
    return f("SQRT", f("MUL", f("SUB", 1.0, f.x), f("ADD", f.x, 1.0)))


def _sum_of_exponentials(f: Formula, name: str) -> Tensor:
    return f("MUL", f(name, f("EXP", f.x), f("EXP", f("NEG", f.x))), 0.5)


def _asinh(f: Formula) -> Tensor:
    """sign(x) log(|x| + sqrt(x² + 1))."""
    distance = f("ABS", f.x)
    root = f("SQRT", f("ADD", f("MUL", f.x, f.x), 1.0))
    return f("MUL", f("SIGN", f.x), f("LOG", f("ADD", distance, root)))


def _acosh(f: Formula) -> Tensor:
    """log(x + sqrt((x - 1) (x + 1)))."""
    root = f("SQRT", f("MUL", f("SUB", f.x, 1.0), f("ADD", f.x, 1.0)))
    return f("LOG", f("ADD", f.x, root))


def _atanh(f: Formula) -> Tensor:
    """log((1 + x) / (1 - x)) / 2."""
    return f("MUL", f("LOG", f("DIV", f("ADD", f.x, 1.0), f("SUB", 1.0, f.x))), 0.5)


FORMULAS: dict[str, Callable[[Formula], Tensor]] = {
    "Acos": lambda f: f("ATAN2", _other_leg(f), f.x),
    "Acosh": _acosh,
    "Asin": lambda f: f("ATAN2", f.x, _other_leg(f)),
    "Asinh": _asinh,
    "Atan": _atan,
    "Atanh": _atanh,
    "Cosh": lambda f: _sum_of_exponentials(f, "ADD"),
    "Sinh": lambda f: _sum_of_exponentials(f, "SUB"),
}


for _onnx, _expression in FORMULAS.items():
    operator(_onnx)(partial(emit_formula, formula=_expression))
