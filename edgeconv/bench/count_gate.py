"""The gate of a CI on counted instructions, which repeat to 0.1 % on any machine."""

from __future__ import annotations

from edgeconv.bench.compare import ComparisonReport
from edgeconv.bench.count_compare import CountComparison, CountVerdict
from edgeconv.bench.gate import GateReport, GateRow, percent


def gate_counts(
    report: ComparisonReport[CountComparison], max_regression: float
) -> GateReport[CountComparison]:
    """Fail what executes more instructions, or is larger, by more than ``max_regression``."""
    return GateReport.of(report, (_row(c, max_regression) for c in report.comparisons))


def _row(comparison: CountComparison, max_regression: float) -> GateRow[CountComparison]:
    limit, reasons = 1 + max_regression, []
    if comparison.verdict is CountVerdict.MORE and comparison.change > limit:
        reasons.append(f"{percent(comparison.change)} instructions")
    if comparison.size_change > limit:
        reasons.append(f"larger by {percent(comparison.size_change)}")
    return GateRow(comparison, tuple(reasons))
