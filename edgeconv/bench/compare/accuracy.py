"""Two evaluations side by side: by how many points did top-1 change, and is it chance?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgeconv.bench.compare.gate import GateReport, GateRow, percent
from edgeconv.bench.compare.report import ComparisonReport, pair
from edgeconv.bench.proportions import Difference, paired_difference, unpaired_difference
from edgeconv.evaluation import Accuracy, Evaluation


class AccuracyVerdict(str, Enum):
    MORE = "more accurate"
    LESS = "less accurate"
    UNDECIDED = "no difference shown"


@dataclass(frozen=True)
class AccuracyComparison:
    """One file in both evaluations. ``change`` is in shares: 0.01 is one percentage point."""

    name: str
    before: Accuracy
    after: Accuracy
    change: Difference
    paired: bool

    @property
    def size_change(self) -> float:
        """New number of bytes divided by the old one."""
        return self.after.bytes / self.before.bytes

    @property
    def verdict(self) -> AccuracyVerdict:
        if not self.change.significant:
            return AccuracyVerdict.UNDECIDED
        return AccuracyVerdict.MORE if self.change.value > 0 else AccuracyVerdict.LESS

    def sentence(self) -> str:
        """The verdict in words, such as "1.20 points less accurate, at least 0.51, at most
        1.88".
        """
        low, value, high = (100 * x for x in (self.change.low, self.change.value, self.change.high))
        if self.verdict is AccuracyVerdict.UNDECIDED:
            return (
                f"no difference shown; if there is one, it is between {low:+.2f} and {high:+.2f} "
                "points"
            )
        near, far = sorted((abs(low), abs(high)))
        return (
            f"{abs(value):.2f} points {self.verdict.value}, at least {near:.2f}, at most {far:.2f}"
        )


def compare_accuracy(before: Evaluation, after: Evaluation) -> ComparisonReport[AccuracyComparison]:
    """Pair the files of two evaluations by name (or take the one of each) and compare them.

    Raises:
        UsageError: no file is in both.
    """
    pairs, only_before, only_after = pair(before.results, after.results, lambda r: r.path)
    paired = before.same_samples(after)

    def compared(name: str, old: Accuracy, new: Accuracy) -> AccuracyComparison:
        if paired:
            change = paired_difference(before.outcomes(old), after.outcomes(new))
        else:
            change = unpaired_difference(
                (old.correct, before.samples), (new.correct, after.samples)
            )
        return AccuracyComparison(name, old, new, change, paired)

    return ComparisonReport(
        comparisons=tuple(compared(name, *both) for name, both in pairs.items()),
        only_before=only_before,
        only_after=only_after,
        cautions=_cautions(before, after, list(pairs.values())),
        of_before=_unreadable(before),
        of_after=_unreadable(after),
    )


def _cautions(
    before: Evaluation, after: Evaluation, pairs: list[tuple[Accuracy, Accuracy]]
) -> tuple[str, ...]:
    found = []
    if not before.same_samples(after):
        found.append(
            f"the samples changed ({before.samples} of {before.data}, {after.samples} of "
            f"{after.data}), so only large differences can be told from chance"
        )
    runtimes = {(old.runtime, new.runtime) for old, new in pairs}
    found += [f"the runtime changed from {a} to {b}" for a, b in sorted(runtimes) if a != b]
    return tuple(found)


def _unreadable(evaluation: Evaluation) -> tuple[str, ...]:
    count = len(evaluation.skipped)
    what = "1 sample was" if count == 1 else f"{count} samples were"
    return (f"{what} unreadable",) if count else ()


def gate_accuracy(
    report: ComparisonReport[AccuracyComparison], max_loss: float, max_regression: float
) -> GateReport[AccuracyComparison]:
    """Fail what is significantly less accurate and by more than ``max_loss`` (0.005 is half a
    percentage point), or larger by more than ``max_regression`` (0.03 is 3 %).
    """
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
