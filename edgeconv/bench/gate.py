"""The gate of a CI: does a change make a file slower or larger than allowed?"""

from __future__ import annotations

from dataclasses import dataclass

from edgeconv.bench.compare import Comparison, ComparisonReport, Verdict


@dataclass(frozen=True)
class GateRow:
    """One file at the gate; ``reasons`` is empty where it passes. ``undecided``: too much noise to
    tell a regression of the allowed size from none."""

    comparison: Comparison
    reasons: tuple[str, ...]
    undecided: bool


@dataclass(frozen=True)
class GateReport:
    rows: tuple[GateRow, ...]
    missing: tuple[str, ...]
    cautions: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """A file that is gone from the new result fails: nobody measured it."""
        return not self.missing and all(not row.reasons for row in self.rows)


def gate(report: ComparisonReport, max_regression: float) -> GateReport:
    """Fail what is significantly slower and by more than ``max_regression`` (0.03 is 3 %), or
    larger by more than that."""
    rows = tuple(_row(comparison, max_regression) for comparison in report.comparisons)
    return GateReport(rows, report.only_before, report.cautions)


def _row(comparison: Comparison, max_regression: float) -> GateRow:
    limit = 1 + max_regression
    reasons = []
    slower = comparison.verdict is Verdict.SLOWER and comparison.change.value > limit
    if slower:
        reasons.append(f"slower by {_percent(comparison.change.value)}")
    if comparison.size_change > limit:
        reasons.append(f"larger by {_percent(comparison.size_change)}")
    undecided = not slower and comparison.change.low < limit < comparison.change.high
    return GateRow(comparison, tuple(reasons), undecided)


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}%"
