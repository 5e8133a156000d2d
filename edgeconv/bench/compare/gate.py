"""The gate of a CI: does a change make a file slower or larger than allowed?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgeconv.bench.compare.latency import Comparison, Verdict
from edgeconv.bench.compare.report import ComparisonReport

C = TypeVar("C")


@dataclass(frozen=True)
class GateRow(Generic[C]):
    """One file at the gate; ``reasons`` is empty where it passes. ``undecided``: too much chance in
    it to tell a regression of more than the allowed size from none.
    """

    comparison: C
    reasons: tuple[str, ...]
    undecided: bool = False


@dataclass(frozen=True)
class GateReport(Generic[C]):
    """All files at the gate, those in the baseline alone (``missing``) and in the result alone
    (``added``), and what the reader must know.
    """

    rows: tuple[GateRow[C], ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    remarks: tuple[str, ...]

    @classmethod
    def of(cls, report: ComparisonReport[C], rows: Iterable[GateRow[C]]) -> GateReport[C]:
        """With a row for each comparison of ``report``."""
        remarks = report.remarks("the baseline", "the result")
        return cls(tuple(rows), report.only_before, report.only_after, remarks)

    @property
    def passed(self) -> bool:
        """A file that is gone from the new result fails: nobody measured it."""
        return not self.missing and all(not row.reasons for row in self.rows)


def gate(report: ComparisonReport[Comparison], max_regression: float) -> GateReport[Comparison]:
    """Fail what is significantly slower and by more than ``max_regression`` (0.03 is 3 %), or
    larger by more than that.
    """
    return GateReport.of(report, (_row(c, max_regression) for c in report.comparisons))


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
