"""The gate of a CI on accuracy."""

from __future__ import annotations

from edgeconv.bench.accuracy import AccuracyComparison, AccuracyVerdict
from edgeconv.bench.compare import ComparisonReport
from edgeconv.bench.gate import GateReport, GateRow, percent


def gate_accuracy(
    report: ComparisonReport[AccuracyComparison], max_loss: float, max_regression: float
) -> GateReport[AccuracyComparison]:
    """Fail what is significantly less accurate and by more than ``max_loss`` (0.005 is half a
    percentage point), or larger by more than ``max_regression`` (0.03 is 3 %)."""
    return GateReport.of(report, (_row(c, max_loss, max_regression) for c in report.comparisons))


def _row(
    comparison: AccuracyComparison, max_loss: float, max_regression: float
) -> GateRow[AccuracyComparison]:
    change = comparison.change
    reasons = []
    worse = comparison.verdict is AccuracyVerdict.LESS and -change.value > max_loss
    if worse:
        reasons.append(f"{100 * change.value:+.2f} points")
    if comparison.size_change > 1 + max_regression:
        reasons.append(f"larger by {percent(comparison.size_change)}")
    # Without any loss there is nothing to be in doubt about, however few the samples.
    undecided = not worse and change.value < 0 and change.low < -max_loss
    return GateRow(comparison, tuple(reasons), undecided)
