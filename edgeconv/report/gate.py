"""The gate's report as a Markdown table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.report.units import format_bytes, format_count, format_duration

if TYPE_CHECKING:
    from edgeconv.bench.count_gate import CountGate
    from edgeconv.bench.gate import GateReport, GateRow


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


def counts_markdown(report: CountGate, max_regression: float) -> str:
    """The same of counted instructions."""
    word = "passed" if report.passed else "FAILED"
    lines = [
        f"**Gate {word}** (emulated, instructions of one inference): at most "
        f"{100 * max_regression:g}% more or larger.",
        "",
        "| File | Before | After | Change | Size | Result |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in report.rows:
        cells = (
            row.name,
            format_count(row.before.counts.total),
            format_count(row.after.counts.total),
            _percent(row.change),
            f"{format_bytes(row.after.file.bytes)} ({_percent(row.size_change)})",
            f"**failed**: {', '.join(row.reasons)}" if row.reasons else "passed",
        )
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    lines += [f"| {_cell(name)} | | | | | **failed**: not counted |" for name in report.missing]
    lines += ["", *(f"- {caution}" for caution in report.cautions)] if report.cautions else []
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
