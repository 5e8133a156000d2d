"""Two measured latencies side by side: ratios with intervals, and what they say in words."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum

from edgeconv.bench import statistics
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
from edgeconv.bench.result import BenchResult, Interval, ModelResult, paired
from edgeconv.bench.sessions import Between
from edgeconv.bench.statistics import Change, Figure
from edgeconv.bench.xnnpack import delegate_setting, runtime_name
from edgeconv.units import format_change, format_duration

SHORT = {Figure.MEDIAN: "median", Figure.LOW: "p10"}
DISTURBED = "too many processes stayed disturbed"


class LatencyVerdict(str, Enum):
    """What two latencies show."""

    FASTER = "faster"
    SLOWER = "slower"
    UNDECIDED = "no difference shown"


@dataclass(frozen=True)
class LatencyComparison(Comparison[ModelResult, Interval]):
    """One file in both results.

    ``change`` is the new latency divided by the old one, by the figure that decides; ``by_figure``
    has both figures.
    """

    by_figure: Change

    @property
    def verdict(self) -> LatencyVerdict:
        """Undecided if the interval of the change has 1 inside."""
        unclear = self.doubts or self.single or self.by_figure.contradictory
        if unclear or self.change.low <= 1.0 <= self.change.high:
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
        if self.doubts:
            return UNDECIDED
        if self.single:
            return f"{value:+.1f}%, of one process a side: repeat more"
        if self.by_figure.contradictory:
            return "undecided: median and 10th percentile disagree"
        if self.verdict is LatencyVerdict.UNDECIDED:
            return f"no difference shown, between {low:+.1f}% and {high:+.1f}%"
        near, far = sorted((abs(low), abs(high)))
        return f"{abs(value):.1f}% {self.verdict.value}, at least {near:.1f}%, at most {far:.1f}%"

    def judged_by(self) -> str:
        """The median or the 10th percentile."""
        return SHORT[self.by_figure.judged_by]

    def judge(self, limits: Limits) -> Outcome:
        """See :func:`outcome_of`; one process a side decides nothing."""
        return Outcome.INCONCLUSIVE if self.single else outcome_of(self.by_figure, limits)

    def worse(self) -> str:
        """How much slower the file is, and by which figure."""
        moved = [f for f in Figure if self.by_figure.of(f).low > 1.0]
        figures = " and ".join(f.value for f in moved)
        return f"slower by {format_change(self.change.value)} ({figures})"

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the file before and after."""
        return self.before.file.bytes, self.after.file.bytes

    def figures(self) -> tuple[str, str]:
        """The figure that decides, before and after."""
        low = self.by_figure.judged_by is Figure.LOW
        before, after = (
            (m.summary.low if low else m.summary.median).value / 1e9
            for m in (self.before, self.after)
        )
        return format_duration(before), format_duration(after)

    def format_change(self) -> str:
        """Such as "+5.0% [+4.9%, +5.1%] p10"."""
        change = self.change
        low, high = format_change(change.low), format_change(change.high)
        return f"{format_change(change.value)} [{low}, {high}] {SHORT[self.by_figure.judged_by]}"

    def plain(self) -> dict[str, object]:
        """Figures in nanoseconds with their intervals, and ratios."""
        return {
            "before_ns": self.before.summary.median.model_dump(),
            "after_ns": self.after.summary.median.model_dump(),
            "change": self.change.model_dump(),
            "judged_by": self.by_figure.judged_by.value,
            "median_change": Interval.of(self.by_figure.median).model_dump(),
            "low_change": Interval.of(self.by_figure.low).model_dump(),
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
    before: BenchResult, after: BenchResult, terms: Terms = STRICT
) -> ComparisonReport[LatencyComparison]:
    """Compare the files that two sessions have in common, by their threads too where one swept.

    Raises:
        UsageError: No file is in both.
    """
    swept = len(before.options.sweep) > 1 or len(after.options.sweep) > 1
    threads = ("threads", before.options.threads, after.options.threads)
    betweens = [terms.between(result.device) for result in (before, after)]
    between = max(betweens, key=lambda found: found.variance.value)

    def compared(name: str, old: ModelResult, new: ModelResult) -> LatencyComparison:
        return _compared(name, old, new, between)

    report = compare_files(
        before.models,
        after.models,
        compared,
        name_of=lambda model: model.label if swept else model.file.name,
        runtime_of=_runtime,
        settings=[
            ("device", before.device, after.device),
            ("board", before.machine.board, after.machine.board),
            ("CPU", before.machine.cpu, after.machine.cpu),
            ("governor", before.machine.governor, after.machine.governor),
            *(() if swept else (threads,)),
            ("cores", before.options.affinity, after.options.affinity),
            delegate_setting(before.options.xnnpack, after.options.xnnpack),
        ],
        terms=terms,
        cautions=[between.sentence()],
    )
    return dataclasses.replace(report, of_before=before.warnings, of_after=after.warnings)


def compare_within(
    result: BenchResult, pairs: dict[str, tuple[int, int]]
) -> ComparisonReport[LatencyComparison]:
    """Compare files of one session, which were measured in turns.

    Args:
        result: The session.
        pairs: By name, the places of the old and of the new file.
    """
    comparisons = []
    for name, places in pairs.items():
        old, new = (result.models[place] for place in places)
        runs = paired(new.processes, old.processes)
        sides = runs or (new.processes, old.processes)
        ours, theirs = ([run.samples_ns for run in side] for side in sides)
        change = statistics.compare(ours, theirs, paired=True)
        doubts = () if runs or len(new.processes) < 2 else (DISTURBED,)
        comparisons.append(_comparison(name, old, new, change, doubts))
    return ComparisonReport(tuple(comparisons), (), (), result.warnings)


def _compared(
    name: str, before: ModelResult, after: ModelResult, between: Between
) -> LatencyComparison:
    change = statistics.compare(
        after.samples, before.samples, paired=False, between=between.variance
    )
    sides = (("baseline", before), ("result", after))
    doubts = [f"{DISTURBED} in the {side}" for side, model in sides if not model.trusted]
    return _comparison(name, before, after, change, tuple(doubts))


def _comparison(
    name: str, before: ModelResult, after: ModelResult, change: Change, doubts: tuple[str, ...]
) -> LatencyComparison:
    judged = Interval.of(change.of(change.judged_by))
    return LatencyComparison(name, before, after, judged, change, doubts=doubts)


def _runtime(model: ModelResult) -> str:
    run = model.processes[0]
    return f"{run.runtime.value} {run.runtime_version}"


def _headline(limits: Limits) -> str:
    return (
        f"(latency): a slow-down of {100 * limits.regression:g}% must be found; at most as much "
        "larger."
    )


def _history_run(result: BenchResult) -> HistoryRun:
    files = tuple(
        HistoryRow(
            name=model.file.name,
            sha256=model.file.sha256,
            bytes=model.file.bytes,
            runtime=runtime_name(model.processes[0].runtime.value, result.options.xnnpack),
            threads=model.threads,
            median_ns=model.summary.median.value,
            low_ns=model.summary.median.low,
            high_ns=model.summary.median.high,
            log_variance=statistics.variance_of_mean(
                statistics.logs_of(model.samples, Figure.MEDIAN)
            ),
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
    doubt="it is neither shown nor excluded; repeat more, in one session (bench A B --gate)",
    history_run=_history_run,
)
