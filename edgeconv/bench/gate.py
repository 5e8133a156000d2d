"""The gate of a CI: does a change make a file slower or larger than allowed?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from edgeconv.bench.compare import Comparison, ComparisonReport, Verdict

C = TypeVar("C")


@dataclass(frozen=True)
class GateRow(Generic[C]):
    """One file at the gate; ``reasons`` is empty where it passes. ``undecided``: too much chance in
    it to tell a regression of more than the allowed size from none."""

    comparison: C
    reasons: tuple[str, ...]
    undecided: bool = False


@dataclass(frozen=True)
class GateReport(Generic[C]):
    rows: tuple[GateRow[C], ...]
    missing: tuple[str, ...]
    cautions: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """A file that is gone from the new result fails: nobody measured it."""
        return not self.missing and all(not row.reasons for row in self.rows)


def gate(report: ComparisonReport[Comparison], max_regression: float) -> GateReport[Comparison]:
    """Fail what is significantly slower and by more than ``max_regression`` (0.03 is 3 %), or
    larger by more than that."""
    rows = tuple(_row(comparison, max_regression) for comparison in report.comparisons)
    return GateReport(rows, report.only_before, report.cautions)


def _row(comparison: Comparison, max_regression: float) -> GateRow[Comparison]:
    limit = 1 + max_regression
    reasons = []
    slower = comparison.verdict is Verdict.SLOWER and comparison.change.value > limit
    if slower:
        reasons.append(f"slower by {percent(comparison.change.value)}")
    if comparison.size_change > limit:
        reasons.append(f"larger by {percent(comparison.size_change)}")
    undecided = not slower and comparison.change.low < limit < comparison.change.high
    return GateRow(comparison, tuple(reasons), undecided)


def percent(ratio: float) -> str:
    """``1.031`` as "+3.1%"."""
    return f"{100 * (ratio - 1):+.1f}%"
