"""Two results side by side: ratios with intervals, and what they say in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgeconv.bench import statistics
from edgeconv.bench.compare.report import ComparisonReport, pair
from edgeconv.bench.result import BenchResult, Interval, ModelResult


class Verdict(str, Enum):
    FASTER = "faster"
    SLOWER = "slower"
    UNDECIDED = "no difference shown"


@dataclass(frozen=True)
class Comparison:
    """One file in both results. ``change`` is the new median divided by the old one."""

    name: str
    before: ModelResult
    after: ModelResult
    change: Interval

    @property
    def verdict(self) -> Verdict:
        if self.single:
            return Verdict.UNDECIDED
        if self.change.low <= 1.0 <= self.change.high:
            return Verdict.UNDECIDED
        return Verdict.SLOWER if self.change.value > 1.0 else Verdict.FASTER

    @property
    def single(self) -> bool:
        """Whether a side has one process alone, which cannot tell how much processes differ."""
        return min(len(self.before.processes), len(self.after.processes)) < 2

    @property
    def size_change(self) -> float:
        """New number of bytes divided by the old one."""
        return self.after.file.bytes / self.before.file.bytes

    def sentence(self) -> str:
        """The verdict in words, such as "3.1% slower, at least 2.0%, at most 4.2%"."""
        low, value, high = (
            100 * (x - 1) for x in (self.change.low, self.change.value, self.change.high)
        )
        if self.single:
            return f"{value:+.1f}%, of one process a side: measure with --repetitions 5 or more"
        if self.verdict is Verdict.UNDECIDED:
            return (
                f"no difference shown; if there is one, it is between {low:+.1f}% and {high:+.1f}%"
            )
        near, far = sorted((abs(low), abs(high)))
        return f"{abs(value):.1f}% {self.verdict.value}, at least {near:.1f}%, at most {far:.1f}%"


def compare(before: BenchResult, after: BenchResult) -> ComparisonReport[Comparison]:
    """Pair the files of two results by name (or take the one of each) and compare them.

    Raises:
        UsageError: no file is in both.
    """
    pairs, only_before, only_after = pair(before.models, after.models, lambda m: m.file.name)
    return ComparisonReport(
        comparisons=tuple(_compare(name, old, new) for name, (old, new) in pairs.items()),
        only_before=only_before,
        only_after=only_after,
        cautions=_cautions(before, after, list(pairs.values())),
        of_before=before.warnings,
        of_after=after.warnings,
    )


def _compare(name: str, before: ModelResult, after: ModelResult) -> Comparison:
    estimate = statistics.ratio(after.samples, before.samples, paired=False)
    return Comparison(name, before, after, Interval.of(estimate))


def _cautions(
    before: BenchResult, after: BenchResult, pairs: list[tuple[ModelResult, ModelResult]]
) -> tuple[str, ...]:
    found = []
    for what, old, new in (
        ("device", before.device, after.device),
        ("CPU", before.machine.cpu, after.machine.cpu),
        ("governor", before.machine.governor, after.machine.governor),
        ("threads", before.options.threads, after.options.threads),
        ("cores", before.options.affinity, after.options.affinity),
    ):
        if old != new:
            found.append(f"the {what} changed from {old} to {new}")
    runtimes = {(_runtime(old), _runtime(new)) for old, new in pairs}
    found += [f"the runtime changed from {a} to {b}" for a, b in sorted(runtimes) if a != b]
    return tuple(found)


def _runtime(model: ModelResult) -> str:
    run = model.processes[0]
    return f"{run.runtime.value} {run.runtime_version}"
