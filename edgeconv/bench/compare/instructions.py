"""Two counts of instructions side by side. They repeat to 0.1 %: what is more is a change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgeconv.bench.compare.gate import GateReport, GateRow, percent
from edgeconv.bench.compare.report import ComparisonReport, pair
from edgeconv.bench.instructions import CountedModel, CountResult

REPEATS_TO = 0.001


class CountVerdict(str, Enum):
    FEWER = "fewer"
    MORE = "more"
    SAME = "no difference shown"


@dataclass(frozen=True)
class CountComparison:
    """One file in both results."""

    name: str
    before: CountedModel
    after: CountedModel

    @property
    def change(self) -> float:
        """Instructions after, divided by those before."""
        return self.after.counts.total / max(1, self.before.counts.total)

    @property
    def size_change(self) -> float:
        """New number of bytes divided by the old one."""
        return self.after.file.bytes / self.before.file.bytes

    @property
    def verdict(self) -> CountVerdict:
        if abs(self.change - 1) <= REPEATS_TO:
            return CountVerdict.SAME
        return CountVerdict.MORE if self.change > 1 else CountVerdict.FEWER

    def sentence(self) -> str:
        """The verdict in words, such as "3.1% more instructions, at least 3.0%, at most 3.2%"."""
        if self.verdict is CountVerdict.SAME:
            return f"no difference shown; counts repeat to {100 * REPEATS_TO:g}%"
        size = 100 * abs(self.change - 1)
        doubt = 100 * REPEATS_TO * self.change
        return (
            f"{size:.1f}% {self.verdict.value} instructions, at least {size - doubt:.1f}%, at most "
            f"{size + doubt:.1f}%"
        )


def compare_counts(before: CountResult, after: CountResult) -> ComparisonReport[CountComparison]:
    """Pair the files of two results by name (or take the one of each) and compare them.

    Raises:
        UsageError: no file is in both.
    """
    pairs, only_before, only_after = pair(before.models, after.models, lambda m: m.file.name)
    return ComparisonReport(
        comparisons=tuple(CountComparison(name, *both) for name, both in pairs.items()),
        only_before=only_before,
        only_after=only_after,
        cautions=_cautions(before, after, list(pairs.values())),
    )


def _cautions(
    before: CountResult, after: CountResult, pairs: list[tuple[CountedModel, CountedModel]]
) -> tuple[str, ...]:
    found = []
    for what, old, new in (
        ("CPU", before.cpu, after.cpu),
        ("inputs' seed", before.options.seed, after.options.seed),
    ):
        if old != new:
            found.append(f"the {what} changed from {old} to {new}")
    runtimes = {tuple(f"{m.runtime.value} {m.runtime_version}" for m in both) for both in pairs}
    found += [f"the runtime changed from {a} to {b}" for a, b in sorted(runtimes) if a != b]
    return tuple(found)


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
