"""Two measured latencies side by side: ratios with intervals, and what they say in words."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum

from edgeconv.bench import statistics
from edgeconv.bench.compare.comparison import (
    Comparison,
    ComparisonReport,
    Limits,
    Outcome,
    changed,
    compare_files,
)
from edgeconv.bench.compare.kind import ResultKind
from edgeconv.bench.history_schema import HistoryRow, HistoryRun
from edgeconv.bench.result import BenchResult, Interval, ModelResult
from edgeconv.bench.statistics import Change, Figure
from edgeconv.units import format_change, format_duration


class LatencyVerdict(str, Enum):
    """What two latencies show."""

    FASTER = "faster"
    SLOWER = "slower"
    UNDECIDED = "no difference shown"


@dataclass(frozen=True)
class LatencyComparison(Comparison[ModelResult, Interval]):
    """One file in both results. ``change`` is the new median divided by the old one."""

    @property
    def verdict(self) -> LatencyVerdict:
        """Undecided if the interval of the change has 1 inside."""
        if self.single or self.change.low <= 1.0 <= self.change.high:
            return LatencyVerdict.UNDECIDED
        return LatencyVerdict.SLOWER if self.change.value > 1.0 else LatencyVerdict.FASTER

    @property
    def single(self) -> bool:
        """Whether one result has a single process, which cannot show how much processes differ."""
        return min(len(self.before.processes), len(self.after.processes)) < 2

    def sentence(self) -> str:
        """The verdict in words, such as "3.1% slower, at least 2.0%, at most 4.2%"."""
        low, value, high = (
            100 * (x - 1) for x in (self.change.low, self.change.value, self.change.high)
        )
        if self.single:
            return f"{value:+.1f}%, of one process a side: measure with --repetitions 5 or more"
        if self.verdict is LatencyVerdict.UNDECIDED:
            return (
                f"no difference shown; if there is one, it is between {low:+.1f}% and {high:+.1f}%"
            )
        near, far = sorted((abs(low), abs(high)))
        return f"{abs(value):.1f}% {self.verdict.value}, at least {near:.1f}%, at most {far:.1f}%"

    def regression(self, limits: Limits) -> str | None:
        """How much slower the file is, if significantly and by more than allowed."""
        slower = self.verdict is LatencyVerdict.SLOWER
        if slower and self.change.value > 1 + limits.regression:
            return f"slower by {format_change(self.change.value)}"
        return None

    def undecided(self, limits: Limits) -> bool:
        """Whether the interval reaches to both sides of the limit."""
        around = self.change.low < 1 + limits.regression < self.change.high
        return around and self.regression(limits) is None

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the file before and after."""
        return self.before.file.bytes, self.after.file.bytes

    def figures(self) -> tuple[str, str]:
        """The medians."""
        before, after = (m.summary.median.value / 1e9 for m in (self.before, self.after))
        return format_duration(before), format_duration(after)

    def format_change(self) -> str:
        """Such as "+5.0% [+4.9%, +5.1%]"."""
        change = self.change
        low, high = format_change(change.low), format_change(change.high)
        return f"{format_change(change.value)} [{low}, {high}]"

    def plain(self) -> dict[str, object]:
        """Medians in nanoseconds with their intervals, and ratios."""
        return {
            "before_ns": self.before.summary.median.model_dump(),
            "after_ns": self.after.summary.median.model_dump(),
            "change": self.change.model_dump(),
            "size_change": self.size_change,
        }


def outcome_of(change: Change, limits: Limits) -> Outcome:
    """Hold a change against the limit, which is the slow-down that must be found.

    A file fails if a figure is significantly slower and may be so by the whole limit. It passes if
    the better of the two figures excludes a slow-down of the limit.
    """
    limit = 1 + limits.regression
    if change.contradictory:
        return Outcome.INCONCLUSIVE
    if any(change.of(f).low > 1.0 and change.of(f).high >= limit for f in Figure):
        return Outcome.FAIL
    return Outcome.PASS if change.of(change.judged_by).high < limit else Outcome.INCONCLUSIVE


def compare_latencies(
    before: BenchResult, after: BenchResult
) -> ComparisonReport[LatencyComparison]:
    """Compare the files that two results have in common.

    Raises:
        UsageError: No file is in both.
    """
    cautions = changed(
        [
            ("device", before.device, after.device),
            ("CPU", before.machine.cpu, after.machine.cpu),
            ("governor", before.machine.governor, after.machine.governor),
            ("threads", before.options.threads, after.options.threads),
            ("cores", before.options.affinity, after.options.affinity),
        ]
    )
    report = compare_files(
        before.models,
        after.models,
        _compared,
        name_of=lambda model: model.file.name,
        runtime_of=_runtime,
        cautions=cautions,
    )
    return dataclasses.replace(report, of_before=before.warnings, of_after=after.warnings)


def _compared(name: str, before: ModelResult, after: ModelResult) -> LatencyComparison:
    estimate = statistics.ratio(after.samples, before.samples, paired=False)
    return LatencyComparison(name, before, after, Interval.of(estimate))


def _runtime(model: ModelResult) -> str:
    run = model.processes[0]
    return f"{run.runtime.value} {run.runtime_version}"


def _headline(limits: Limits) -> str:
    return f"(latency): at most {100 * limits.regression:g}% slower or larger."


def _history_run(result: BenchResult) -> HistoryRun:
    files = tuple(
        HistoryRow(
            name=model.file.name,
            sha256=model.file.sha256,
            bytes=model.file.bytes,
            runtime=model.processes[0].runtime.value,
            threads=result.options.threads,
            median_ns=model.summary.median.value,
            low_ns=model.summary.median.low,
            high_ns=model.summary.median.high,
        )
        for model in result.models
    )
    return HistoryRun(result.started, result.device, files)


LATENCY = ResultKind(
    name="latency",
    plural="latencies",
    result=BenchResult,
    compare=compare_latencies,
    headline=_headline,
    doubt="too noisy to be sure: repeat more",
    history_run=_history_run,
)
