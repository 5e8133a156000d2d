"""Two evaluations side by side: how did the first figure change, and is it chance?"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

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
from edgeconv.bench.history_run import HistoryRow, HistoryRun
from edgeconv.differences import Difference
from edgeconv.evaluation import SHARE, Accuracy, Evaluation, Figure, difference
from edgeconv.units import format_percent


class AccuracyVerdict(str, Enum):
    """What two accuracies show."""

    MORE = "more accurate"
    LESS = "less accurate"
    UNDECIDED = "no difference shown"


@dataclass(frozen=True)
class AccuracyComparison(Comparison[Accuracy, Difference]):
    """One file in both evaluations.

    ``change`` is a difference of the first figures, such as top-1; of shares 0.01 is one percentage
    point. ``paired``: both saw the same samples. ``certain``: the figure is a mean over samples, so
    that the change has an interval.
    """

    paired: bool
    certain: bool = True

    @property
    def _figure(self) -> Figure:
        return self.before.decisive

    @property
    def _is_share(self) -> bool:
        return self._figure.unit == SHARE

    def _loss(self, change: float) -> float:
        """How much worse a change is: a share of all samples, or of an error or another figure.

        Of a figure that is 0, whatever is lost is more than any share.
        """
        loss = -change if self._figure.better == "higher" else change
        if self._is_share or not loss:
            return loss
        value = abs(self._figure.value)
        return loss / value if value else math.copysign(math.inf, loss)

    @property
    def verdict(self) -> AccuracyVerdict:
        """Undecided unless the test of the difference is significant."""
        if self.doubts or not self.change.significant:
            return AccuracyVerdict.UNDECIDED
        less = self._loss(self.change.value) > 0
        return AccuracyVerdict.LESS if less else AccuracyVerdict.MORE

    def sentence(self) -> str:
        """Such as "1.20 points less accurate, at least 0.51, at most 1.88"."""
        low, value, high = map(self._scaled, (self.change.low, self.change.value, self.change.high))
        if self.doubts:
            return UNDECIDED
        unit = self._unit
        if self.verdict is AccuracyVerdict.UNDECIDED:
            return (
                f"no difference shown, between {self._signed(low)} and {self._signed(high)}{unit}"
            )
        near, far = (self._number(each) for each in sorted((abs(low), abs(high))))
        bounds = f", at least {near}, at most {far}" if self.certain else ""
        return f"{self._number(abs(value))}{unit} {self.verdict.value}{bounds}"

    def judge(self, limits: Limits) -> Outcome:
        """It fails if it lost significantly and more than allowed.

        More may be lost than allowed where the interval says so; without any loss there is no
        doubt.
        """
        loss = self._loss(self.change.value)
        if self.verdict is AccuracyVerdict.LESS and loss > limits.accuracy_loss:
            return Outcome.FAIL
        most = max(self._loss(self.change.low), self._loss(self.change.high))
        lost = loss > 0 and most > limits.accuracy_loss
        return Outcome.INCONCLUSIVE if lost else Outcome.PASS

    def worse(self) -> str:
        """How much the file lost, such as "-2.00 points"."""
        return f"{self._signed(self._scaled(self.change.value))}{self._unit}"

    def _scaled(self, change: float) -> float:
        return 100 * change if self._is_share else change

    @property
    def _unit(self) -> str:
        if self._is_share:
            return " points"
        return f" {self._figure.unit}" if self._figure.unit else ""

    def _number(self, value: float) -> str:
        return f"{value:.2f}" if self._is_share else f"{value:.3g}"

    def _signed(self, value: float) -> str:
        return f"{value:+.2f}" if self._is_share else f"{value:+.3g}"

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the file before and after."""
        return self.before.bytes, self.after.bytes

    def figures(self) -> tuple[str, str]:
        """The first figure, in percent where it is a share."""
        before, after = (format_figure(each.decisive) for each in (self.before, self.after))
        return before, after

    def format_change(self) -> str:
        """Percentage points or the figure's unit, such as "-2.00 [-2.91, -1.09]"."""
        change = self.change
        low, value, high = (
            self._signed(self._scaled(x)) for x in (change.low, change.value, change.high)
        )
        return f"{value} [{low}, {high}]" if self.certain else value

    def plain(self) -> dict[str, object]:
        """The figures, their difference with its p-value, and whether the samples are paired."""
        return {
            "figure": self._figure.name,
            "unit": self._figure.unit,
            "before": self.before.decisive.value,
            "after": self.after.decisive.value,
            "change": dataclasses.asdict(self.change) if self.certain else None,
            "size_change": self.size_change,
            "paired": self.paired,
        }


def format_figure(figure: Figure) -> str:
    """A figure as people read it: a share in percent, another one with its unit."""
    return format_value(figure.value, figure.unit)


def format_value(value: float, unit: str) -> str:
    """A figure's value as people read it."""
    if unit == SHARE:
        return format_percent(value, places=2)
    return f"{value:.4g} {unit}".rstrip()


def compare_accuracy(
    before: Evaluation, after: Evaluation, terms: Terms = STRICT
) -> ComparisonReport[AccuracyComparison]:
    """Compare the files that two evaluations have in common.

    Raises:
        UsageError: No file is in both.
    """
    paired = before.same_samples(after)

    def compared(name: str, old: Accuracy, new: Accuracy) -> AccuracyComparison:
        scores = before.scores(old), after.scores(new)
        doubts: tuple[str, ...] = (
            () if old.decisive.name == new.decisive.name else ("the figure changed",)
        )
        if before.task != after.task:
            doubts += ("the task changed",)
        if scores[0] is None or scores[1] is None or scores[0].dtype != scores[1].dtype:
            value = new.decisive.value - old.decisive.value
            if not paired:
                doubts += (f"of the {old.decisive.name} of other samples nothing follows",)
            change = Difference(value, value, value)
            return AccuracyComparison(name, old, new, change, paired, certain=False, doubts=doubts)
        change = difference(scores[0], scores[1], paired=paired, root=old.root)
        return AccuracyComparison(name, old, new, change, paired, doubts=doubts)

    cautions = []
    if before.task != after.task:
        cautions.append(
            f"the task changed from {before.task} to {after.task}, so nothing is decided; evaluate "
            "both with the same --task"
        )
    if not paired:
        cautions.append(
            "the samples changed, or what is stated of them "
            f"({before.samples} of {before.data}, {after.samples} of {after.data}), so only large "
            "differences exceed chance"
        )
    report = compare_files(
        before.results,
        after.results,
        compared,
        name_of=lambda result: result.path,
        runtime_of=lambda result: result.runtime,
        settings=[],
        terms=terms,
        cautions=cautions,
    )
    return dataclasses.replace(report, of_before=_unreadable(before), of_after=_unreadable(after))


def _unreadable(evaluation: Evaluation) -> tuple[str, ...]:
    count = len(evaluation.skipped)
    what = "1 sample was" if count == 1 else f"{count} samples were"
    return (f"{what} unreadable",) if count else ()


def history_run(evaluation: Evaluation, bundle: Path, started: datetime, device: str) -> HistoryRun:
    """What the history has of an evaluation, which itself does not say when and where it was.

    Its files have the names that a measurement of the same ``bundle`` gives them.
    """
    files = tuple(
        HistoryRow(
            name=str(bundle / file.path),
            sha256=None,
            bytes=file.bytes,
            runtime=file.runtime,
            threads=None,
            figure=file.decisive.name,
            value=file.decisive.value,
            unit=file.decisive.unit,
        )
        for file in evaluation.results
    )
    return HistoryRun(started, device, files)


def _headline(limits: Limits) -> str:
    return (
        f"(accuracy): at most {100 * limits.accuracy_loss:g} points lost (of figures that are no "
        f"shares {100 * limits.accuracy_loss:g}%), at most "
        f"{100 * limits.regression:g}% larger."
    )


ACCURACY = ResultKind(
    name="accuracy",
    plural="accuracies",
    result=Evaluation,
    compare=compare_accuracy,
    headline=_headline,
    change_column="Change",
    doubt="too few samples to be sure",
)
