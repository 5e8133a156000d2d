"""Hundreds of operators in float are as many lines as there are reasons."""

from __future__ import annotations

from edgeconv.report.in_float import by_reason


def test_nodes_of_one_reason_share_a_line() -> None:
    unknown, between = "int8 is not implemented for it", "it lies between: both are in float"
    entries = [f"cumsum_{index} (CumSum): {unknown}" for index in range(300)]
    entries.insert(1, f"mul (Mul): {between}")
    first, second = by_reason(entries)
    names = ", ".join(f"cumsum_{index} (CumSum)" for index in range(6))
    assert first == (f"{names}, and 294 more", unknown)
    assert second == ("mul (Mul)", between)
    assert by_reason([]) == []
