"""Which texts are small arithmetic on sizes."""

from __future__ import annotations

import pytest

from edgeconv.export.capture.size_expressions import is_of_sizes


@pytest.mark.parametrize(
    "text",
    [
        *("s0", "2*s27 + 1", "Symbol('s0', positive=True, integer=True)", "int_oo", "-int_oo"),
        *("Mul(Integer(2), Symbol('s0', integer=True))", "FloorDiv(s0 - 1, 2)", "s0**2", "1"),
        *("Pow(Symbol('s0', integer=True), Integer(2))", "Pow(s0, Rational(1, 2))", "u0 < 9"),
        *("Eq(s0, 1) | ~Ne(s1, 2)", "9223372036854775806", "(s0**2 + 1)**2"),
    ],
)
def test_arithmetic_on_sizes(text: str) -> None:
    assert is_of_sizes(text)


@pytest.mark.parametrize(
    "text",
    [
        *("9**9**9", "(9**64)**64**64", "((9**64)**64)**64", "Pow(9, Pow(9, Integer(9)))"),
        *("Pow(9, 9*9*9)", "PowByNatural(9, 999999999)", "9**s0", "Pow()", "1 << 999999999"),
        *("9" * 20, "1 +" * 5000 + "1", "(" * 500 + "s0" + ")" * 500, "", "s0 +", "s0[0]"),
        *("__import__('os')", "open", "lambda: 1", "s0.__class__", "factorial(9)"),
    ],
)
def test_what_is_more_than_that(text: str) -> None:
    assert not is_of_sizes(text)
