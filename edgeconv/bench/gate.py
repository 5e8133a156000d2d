"""The gate of a CI: does a change make a file slower or larger than allowed?"""

from __future__ import annotations

from dataclasses import dataclass

from edgeconv.bench.compare import Comparison, ComparisonReport, Verdict
from edgeconv.report.units import format_bytes, format_duration


@dataclass(frozen=True)
class GateRow:
    """One file at the gate; ``reasons`` is empty where it passes. ``undecided``: too much noise to
    tell a regression of the allowed size from none."""

    comparison: Comparison
    reasons: tuple[str, ...]
    undecided: bool


@dataclass(frozen=True)
class GateReport:
    rows: tuple[GateRow, ...]
    missing: tuple[str, ...]
    cautions: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """A file that is gone from the new result fails: nobody measured it."""
        return not self.missing and all(not row.reasons for row in self.rows)


def gate(report: ComparisonReport, max_regression: float) -> GateReport:
    """Fail what is significantly slower and by more than ``max_regression`` (0.03 is 3 %), or
    larger by more than that."""
    rows = tuple(_row(comparison, max_regression) for comparison in report.comparisons)
    return GateReport(rows, report.only_before, report.cautions)


def _row(comparison: Comparison, max_regression: float) -> GateRow:
    limit = 1 + max_regression
    reasons = []
    slower = comparison.verdict is Verdict.SLOWER and comparison.change.value > limit
    if slower:
        reasons.append(f"slower by {_percent(comparison.change.value)}")
    if comparison.size_change > limit:
        reasons.append(f"larger by {_percent(comparison.size_change)}")
    undecided = not slower and comparison.change.low < limit < comparison.change.high
    return GateRow(comparison, tuple(reasons), undecided)


def markdown(report: GateReport, max_regression: float) -> str:
    """The report as a Markdown table for a pull request, with one line of verdict above it."""
    word = "passed" if report.passed else "FAILED"
    lines = [
        f"**Gate {word}**: at most {100 * max_regression:g}% slower or larger.",
        "",
        "| File | Before | After | Change | Size | Result |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in report.rows:
        old, new = row.comparison.before, row.comparison.after
        change = row.comparison.change
        cells = (
            row.comparison.name,
            format_duration(old.summary.median.value / 1e9),
            format_duration(new.summary.median.value / 1e9),
            f"{_percent(change.value)} [{_percent(change.low)}, {_percent(change.high)}]",
            f"{format_bytes(new.file.bytes)} ({_percent(row.comparison.size_change)})",
            _result(row),
        )
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    lines += [f"| {_cell(name)} | | | | | **failed**: not measured |" for name in report.missing]
    if report.cautions:
        lines += ["", *(f"- {caution}" for caution in report.cautions)]
    return "\n".join(lines)


def _result(row: GateRow) -> str:
    if row.reasons:
        return "**failed**: " + ", ".join(row.reasons)
    return "passed, but too noisy to be sure: repeat more" if row.undecided else "passed"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}%"


def _cell(text: str) -> str:
    """A file name may hold what Markdown would read as a new cell or a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
