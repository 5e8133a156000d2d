"""Two counts of instructions side by side; what they do not repeat to is no change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

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
from edgeconv.bench.instructions import CountedModel, CountResult
from edgeconv.bench.result import Interval
from edgeconv.bench.xnnpack import delegate_setting, runtime_name
from edgeconv.device.messages import Runtime
from edgeconv.units import format_change, format_count

# How far two counts of one file may be apart. ONNX Runtime's float files have two modes, 0.22 %
# apart, whose cause is not known.
REPEATS_TO = {Runtime.LITERT: 0.001, Runtime.TFLITE_RUNTIME: 0.001, Runtime.ONNXRUNTIME: 0.0025}


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
        if self.doubts or abs(self.change.value - 1) <= self.repeats_to:
            return CountVerdict.SAME
        return CountVerdict.MORE if self.change.value > 1 else CountVerdict.FEWER

    def sentence(self) -> str:
        """The verdict in words, such as "3.1% more instructions, at least 3.0%, at most 3.2%"."""
        if self.doubts:
            return UNDECIDED
        if self.verdict is CountVerdict.SAME:
            return f"no difference shown; counts repeat to {100 * self.repeats_to:g}%"
        bounds = (abs(x - 1) for x in (self.change.low, self.change.high))
        near, far = sorted(100 * bound for bound in bounds)
        return (
            f"{100 * abs(self.change.value - 1):.1f}% {self.verdict.value} instructions, at least "
            f"{near:.1f}%, at most {far:.1f}%"
        )

    @property
    def repeats_to(self) -> float:
        """How far counts of the same file may be apart, as a share."""
        return max(REPEATS_TO[model.runtime] for model in (self.before, self.after))

    def judge(self, limits: Limits) -> Outcome:
        """It fails if it takes more than allowed; counts show no less than they repeat to."""
        if self.change.value > 1 + max(limits.regression, self.repeats_to):
            return Outcome.FAIL
        less = self.change.value <= 1 + limits.regression
        return Outcome.PASS if less else Outcome.INCONCLUSIVE

    def worse(self) -> str:
        """How many more instructions the file takes."""
        return f"{format_change(self.change.value)} instructions"

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
            "repeats_to": self.repeats_to,
            "size_change": self.size_change,
        }


def compare_counts(
    before: CountResult, after: CountResult, terms: Terms = STRICT
) -> ComparisonReport[CountComparison]:
    """Compare the files that two results have in common.

    Raises:
        UsageError: No file is in both.
    """
    settings = [
        ("CPU", before.cpu, after.cpu),
        ("seed", before.options.seed, after.options.seed),
        delegate_setting(before.options.xnnpack, after.options.xnnpack),
    ]
    return compare_files(
        before.models,
        after.models,
        _compared,
        name_of=lambda model: model.file.name,
        runtime_of=lambda model: f"{model.runtime.value} {model.runtime_version}",
        settings=settings,
        terms=terms,
    )


def _compared(name: str, before: CountedModel, after: CountedModel) -> CountComparison:
    ratio = after.counts.total / max(1, before.counts.total)
    error = max(REPEATS_TO[model.runtime] for model in (before, after))
    low, high = ratio * (1 - error), ratio * (1 + error)
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
            runtime=runtime_name(model.runtime.value, result.options.xnnpack),
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
    doubt="the counts do not repeat to so little",
    history_run=_history_run,
)
