"""The gate of a CI: does a change make a file worse or larger than allowed?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeconv.bench.compare.comparison import Comparison, ComparisonReport, Limits


@dataclass(frozen=True)
class GateRow:
    """One file at the gate.

    ``reasons`` is empty where the file passes. ``undecided``: there is too much chance in its
    figures to tell a regression of more than the allowed size from none.
    """

    comparison: Comparison[Any, Any]
    reasons: tuple[str, ...]
    undecided: bool


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
    def passed(self) -> bool:
        """Whether every file of the baseline was measured again and is not worse than allowed."""
        return not self.missing and all(not row.reasons for row in self.rows)


def gate(report: ComparisonReport[Comparison[Any, Any]], limits: Limits) -> GateReport:
    """Hold every comparison against the limits."""
    return GateReport(
        rows=tuple(
            GateRow(c, c.regressions(limits), c.undecided(limits)) for c in report.comparisons
        ),
        missing=report.only_before,
        added=report.only_after,
        remarks=report.remarks("the baseline", "the result"),
    )
