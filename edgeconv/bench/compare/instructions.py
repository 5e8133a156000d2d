"""Two counts of instructions side by side; they repeat to 0.1 %, so more than that is a change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from edgeconv.bench.compare.comparison import (
    Comparison,
    ComparisonReport,
    Limits,
    changed,
    compare_files,
)
from edgeconv.bench.compare.kind import ResultKind
from edgeconv.bench.history_schema import HistoryRow, HistoryRun
from edgeconv.bench.instructions import CountedModel, CountResult
from edgeconv.bench.result import Interval
from edgeconv.units import format_change, format_count

REPEATS_TO = 0.001


class CountVerdict(str, Enum):
    """What two instruction counts show."""

    FEWER = "fewer"
    MORE = "more"
    SAME = "no difference shown"


@dataclass(frozen=True)
class CountComparison(Comparison[CountedModel, Interval]):
    """One file in both results. ``change`` is the new count divided by the old one."""

    UNIT: ClassVar[str] = "instr."

    @property
    def verdict(self) -> CountVerdict:
        """No difference within the repeatability of the counts."""
        if abs(self.change.value - 1) <= REPEATS_TO:
            return CountVerdict.SAME
        return CountVerdict.MORE if self.change.value > 1 else CountVerdict.FEWER

    def sentence(self) -> str:
        """The verdict in words, such as "3.1% more instructions, at least 3.0%, at most 3.2%"."""
        if self.verdict is CountVerdict.SAME:
            return f"no difference shown; counts repeat to {100 * REPEATS_TO:g}%"
        bounds = (abs(x - 1) for x in (self.change.low, self.change.high))
        near, far = sorted(100 * bound for bound in bounds)
        return (
            f"{100 * abs(self.change.value - 1):.1f}% {self.verdict.value} instructions, at least "
            f"{near:.1f}%, at most {far:.1f}%"
        )

    def regression(self, limits: Limits) -> str | None:
        """How many more instructions the file takes, if more than allowed."""
        more = self.verdict is CountVerdict.MORE
        if more and self.change.value > 1 + limits.regression:
            return f"{format_change(self.change.value)} instructions"
        return None

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the file before and after."""
        return self.before.file.bytes, self.after.file.bytes

    def figures(self) -> tuple[str, str]:
        """The counts, without their unit."""
        return format_count(self.before.counts.total), format_count(self.after.counts.total)

    def format_change(self) -> str:
        """Such as "+4.0%"; the bounds are the same for every file."""
        return format_change(self.change.value)

    def plain(self) -> dict[str, object]:
        """The counts and ratios."""
        return {
            "before_instructions": self.before.counts.total,
            "after_instructions": self.after.counts.total,
            "change": self.change.value,
            "size_change": self.size_change,
        }


def compare_counts(before: CountResult, after: CountResult) -> ComparisonReport[CountComparison]:
    """Compare the files that two results have in common.

    Raises:
        UsageError: No file is in both.
    """
    cautions = changed(
        [
            ("CPU", before.cpu, after.cpu),
            ("inputs' seed", before.options.seed, after.options.seed),
        ]
    )
    return compare_files(
        before.models,
        after.models,
        _compared,
        name_of=lambda model: model.file.name,
        runtime_of=lambda model: f"{model.runtime.value} {model.runtime_version}",
        cautions=cautions,
    )


def _compared(name: str, before: CountedModel, after: CountedModel) -> CountComparison:
    ratio = after.counts.total / max(1, before.counts.total)
    low, high = ratio * (1 - REPEATS_TO), ratio * (1 + REPEATS_TO)
    return CountComparison(name, before, after, Interval(value=ratio, low=low, high=high))


def _headline(limits: Limits) -> str:
    return (
        f"(emulated, instructions of one inference): at most {100 * limits.regression:g}% more or "
        "larger."
    )


def _history_run(result: CountResult) -> HistoryRun:
    files = tuple(
        HistoryRow(
            name=model.file.name,
            sha256=model.file.sha256,
            bytes=model.file.bytes,
            runtime=model.runtime.value,
            threads=1,
            instructions=model.counts.total,
        )
        for model in result.models
    )
    return HistoryRun(result.started, result.device, files)


INSTRUCTIONS = ResultKind(
    name="instructions",
    plural="instruction counts",
    result=CountResult,
    compare=compare_counts,
    headline=_headline,
    history_run=_history_run,
)
