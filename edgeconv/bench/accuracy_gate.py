"""The gate of a CI on accuracy."""

from __future__ import annotations

from edgeconv.bench.accuracy import AccuracyComparison, AccuracyVerdict
from edgeconv.bench.compare import ComparisonReport
from edgeconv.bench.gate import GateReport, GateRow


def gate_accuracy(
    report: ComparisonReport[AccuracyComparison], max_loss: float
) -> GateReport[AccuracyComparison]:
    """Fail what is significantly less accurate, and by more than ``max_loss`` (0.005 is half a
    percentage point)."""
    rows = tuple(_row(comparison, max_loss) for comparison in report.comparisons)
    return GateReport(rows, report.only_before, report.cautions)


def _row(comparison: AccuracyComparison, max_loss: float) -> GateRow[AccuracyComparison]:
    change = comparison.change
    if comparison.verdict is AccuracyVerdict.LESS and -change.value > max_loss:
        return GateRow(comparison, (f"{100 * change.value:+.2f} points",))
    return GateRow(comparison, (), undecided=change.low < -max_loss)
