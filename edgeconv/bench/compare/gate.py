"""The gate of a CI: does a change make a file worse or larger than allowed?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeconv.bench.compare.comparison import Comparison, ComparisonReport, Limits, Outcome


@dataclass(frozen=True)
class GateRow:
    """One file at the gate. ``reasons`` are why it fails; empty where it does not."""

    comparison: Comparison[Any, Any]
    outcome: Outcome
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class GateReport:
    """All files at the gate.

    ``missing`` are the files that only the baseline has, ``added`` those that only the result has,
    ``remarks`` what the reader must know.
    """

    rows: tuple[GateRow, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def outcome(self) -> Outcome:
        """It fails if a file does, or is missing; it passes if all do."""
        failed = [Outcome.FAIL] if self.missing else []
        return worst([*failed, *(row.outcome for row in self.rows)])


def worst(outcomes: list[Outcome]) -> Outcome:
    """What several files say together."""
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        if outcome in outcomes:
            return outcome
    return Outcome.PASS


def gate(report: ComparisonReport[Comparison[Any, Any]], limits: Limits) -> GateReport:
    """Hold every comparison against the limits."""
    return GateReport(
        rows=tuple(
            GateRow(c, c.outcome(limits), c.regressions(limits)) for c in report.comparisons
        ),
        missing=report.only_before,
        added=report.only_after,
        remarks=report.remarks("the baseline", "the result"),
    )
