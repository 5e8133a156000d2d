"""A GELU written out with Erf or Tanh becomes one operator.

x / 2 * (1 + erf(x / sqrt 2)), or its approximation x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715
x^3))) (Hendrycks and Gimpel 2016, arXiv:1606.08415). Needs opset 20, the first with Gelu.
"""

from __future__ import annotations

import math
from typing import Any

from onnxscript.rewriter import pattern

from edgeconv.export.passes.rewriting import Build, Rewrites, check_numbers

FIRST_OPSET = 20

_ROOT = math.sqrt(2)
_FACTOR = math.sqrt(2 / math.pi)
_CUBIC = 0.044715


def _erf_of_quotient(op: Any, x: Any, inner: Any) -> Any:
    return op.Erf(op.Div(x, inner))


def _erf_of_product(op: Any, x: Any, inner: Any) -> Any:
    return op.Erf(op.Mul(x, inner))


def _tanh(cube: Build) -> Build:
    def build(op: Any, x: Any, inner: Any, cubic: Any, **power: Any) -> Any:
        return op.Tanh(op.Mul(op.Add(x, op.Mul(cube(op, x, **power), cubic)), inner))

    return build


def _orders(core: Build) -> tuple[Build, ...]:
    """The three orders in which people multiply x, a half, and 1 + core."""

    def outer(op: Any, x: Any, half: Any, one: Any, **rest: Any) -> Any:
        return op.Mul(op.Mul(x, op.Add(core(op, x, **rest), one)), half)

    def first(op: Any, x: Any, half: Any, one: Any, **rest: Any) -> Any:
        return op.Mul(op.Mul(x, half), op.Add(core(op, x, **rest), one))

    def last(op: Any, x: Any, half: Any, one: Any, **rest: Any) -> Any:
        return op.Mul(x, op.Mul(op.Add(core(op, x, **rest), one), half))

    return outer, first, last


def _fits(**expected: float) -> Build:
    expected = {"half": 0.5, "one": 1.0, **expected}

    def check(context: Any, **values: Any) -> pattern.MatchResult:
        return check_numbers(values, expected)

    return check


def _exact(order: Build, inner: float) -> pattern.RewriteRule:
    return pattern.RewriteRule(
        lambda op, x, half, one, inner: order(op, x, half, one, inner=inner),
        lambda op, x, **_: op.Gelu(x),
        _fits(inner=inner),
    )


def _cube_by_products(op: Any, x: Any) -> Any:
    return op.Mul(op.Mul(x, x), x)


def _cube_by_power(op: Any, x: Any, three: Any) -> Any:
    return op.Pow(x, three)


def _approximate(op: Any, x: Any, **_: Any) -> Any:
    return op.Gelu(x, approximate="tanh")


def _by_products(order: Build) -> pattern.RewriteRule:
    return pattern.RewriteRule(
        lambda op, x, half, one, inner, cubic: order(op, x, half, one, inner=inner, cubic=cubic),
        _approximate,
        _fits(inner=_FACTOR, cubic=_CUBIC),
    )


def _by_power(order: Build) -> pattern.RewriteRule:
    return pattern.RewriteRule(
        lambda op, x, half, one, inner, cubic, three: order(
            op, x, half, one, inner=inner, cubic=cubic, three=three
        ),
        _approximate,
        _fits(inner=_FACTOR, cubic=_CUBIC, three=3.0),
    )


class Gelu(Rewrites):
    """The formula in any of its orders → ``Gelu(x)``."""

    subject = "GELU"
    rules = (
        *(_exact(order, _ROOT) for order in _orders(_erf_of_quotient)),
        *(_exact(order, 1 / _ROOT) for order in _orders(_erf_of_product)),
        *(_by_products(order) for order in _orders(_tanh(_cube_by_products))),
        *(_by_power(order) for order in _orders(_tanh(_cube_by_power))),
    )
