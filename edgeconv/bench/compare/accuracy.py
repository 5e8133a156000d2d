"""Two evaluations side by side: by how many points did top-1 change, and is it chance?"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum

from edgeconv.bench.compare.comparison import (
    STRICT,
    UNDECIDED,
    Comparison,
    ComparisonReport,
    Limits,
    Outcome,
    Terms,
    compare_files,
)
from edgeconv.bench.compare.kind import ResultKind
from edgeconv.bench.proportions import Difference, paired_difference, unpaired_difference
from edgeconv.evaluation import Accuracy, Evaluation
from edgeconv.units import format_percent


class AccuracyVerdict(str, Enum):
    """What two accuracies show."""

    MORE = "more accurate"
    LESS = "less accurate"
    UNDECIDED = "no difference shown"


@dataclass(frozen=True)
class AccuracyComparison(Comparison[Accuracy, Difference]):
    """One file in both evaluations.

    ``change`` is a difference of shares: 0.01 is one percentage point. ``paired``: both saw the
    same samples.
    """

    paired: bool

    @property
    def verdict(self) -> AccuracyVerdict:
        """Undecided unless the test of the difference is significant."""
        if self.doubts or not self.change.significant:
            return AccuracyVerdict.UNDECIDED
        return AccuracyVerdict.MORE if self.change.value > 0 else AccuracyVerdict.LESS

    def sentence(self) -> str:
        """Such as "1.20 points less accurate, at least 0.51, at most 1.88"."""
        low, value, high = (100 * x for x in (self.change.low, self.change.value, self.change.high))
        if self.doubts:
            return UNDECIDED
        if self.verdict is AccuracyVerdict.UNDECIDED:
            return f"no difference shown, between {low:+.2f} and {high:+.2f} points"
        near, far = sorted((abs(low), abs(high)))
        return (
            f"{abs(value):.2f} points {self.verdict.value}, at least {near:.2f}, at most {far:.2f}"
        )

    def judge(self, limits: Limits) -> Outcome:
        """It fails if it lost significantly and more than allowed.

        More may be lost than allowed where the interval says so; without any loss there is no
        doubt.
        """
        less = self.verdict is AccuracyVerdict.LESS
        if less and -self.change.value > limits.accuracy_loss:
            return Outcome.FAIL
        lost = self.change.value < 0 and self.change.low < -limits.accuracy_loss
        return Outcome.INCONCLUSIVE if lost else Outcome.PASS

    def worse(self) -> str:
        """How many points the file lost."""
        return f"{100 * self.change.value:+.2f} points"

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the file before and after."""
        return self.before.bytes, self.after.bytes

    def figures(self) -> tuple[str, str]:
        """Top-1 in percent."""
        before, after = (format_percent(a.top1, places=2) for a in (self.before, self.after))
        return before, after

    def format_change(self) -> str:
        """Percentage points, such as "-2.00 [-2.91, -1.09]"."""
        change = self.change
        low, value, high = (f"{100 * x:+.2f}" for x in (change.low, change.value, change.high))
        return f"{value} [{low}, {high}]"

    def plain(self) -> dict[str, object]:
        """Shares, their difference with its p-value, and whether the samples are paired."""
        return {
            "before_top1": self.before.top1,
            "after_top1": self.after.top1,
            "change": dataclasses.asdict(self.change),
            "size_change": self.size_change,
            "paired": self.paired,
        }


def compare_accuracy(
    before: Evaluation, after: Evaluation, terms: Terms = STRICT
) -> ComparisonReport[AccuracyComparison]:
    """Compare the files that two evaluations have in common.

    Raises:
        UsageError: No file is in both.
    """
    paired = before.same_samples(after)

    def compared(name: str, old: Accuracy, new: Accuracy) -> AccuracyComparison:
        if paired:
            change = paired_difference(before.outcomes(old), after.outcomes(new))
        else:
            change = unpaired_difference(
                (old.correct, before.samples), (new.correct, after.samples)
            )
        return AccuracyComparison(name, old, new, change, paired)

    cautions = []
    if not paired:
        cautions.append(
            f"the samples changed ({before.samples} of {before.data}, {after.samples} of "
            f"{after.data}), so only large differences exceed chance"
        )
    report = compare_files(
        before.results,
        after.results,
        compared,
        name_of=lambda result: result.path,
        runtime_of=lambda result: result.runtime,
        terms=terms,
        cautions=cautions,
    )
    return dataclasses.replace(report, of_before=_unreadable(before), of_after=_unreadable(after))


def _unreadable(evaluation: Evaluation) -> tuple[str, ...]:
    count = len(evaluation.skipped)
    what = "1 sample was" if count == 1 else f"{count} samples were"
    return (f"{what} unreadable",) if count else ()


def _headline(limits: Limits) -> str:
    return (
        f"(top-1 accuracy): at most {100 * limits.accuracy_loss:g} points lost, at most "
        f"{100 * limits.regression:g}% larger."
    )


ACCURACY = ResultKind(
    name="accuracy",
    plural="accuracies",
    result=Evaluation,
    compare=compare_accuracy,
    headline=_headline,
    change_column="Points",
    doubt="too few samples to be sure",
)
