"""The gate's reports as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from edgeconv.bench.compare.gate import percent
from edgeconv.report.units import format_bytes, format_count, format_duration, format_percent

if TYPE_CHECKING:
    from edgeconv.bench.compare.accuracy import AccuracyComparison
    from edgeconv.bench.compare.gate import GateReport, GateRow
    from edgeconv.bench.compare.instructions import CountComparison
    from edgeconv.bench.compare.latency import Comparison

C = TypeVar("C")


def markdown(report: GateReport[Comparison], max_regression: float) -> str:
    """Latency and size as a Markdown table for a pull request, with one line of verdict above."""

    def cells(comparison: Comparison) -> Sequence[str]:
        change = comparison.change
        return (
            comparison.name,
            format_duration(comparison.before.summary.median.value / 1e9),
            format_duration(comparison.after.summary.median.value / 1e9),
            f"{percent(change.value)} [{percent(change.low)}, {percent(change.high)}]",
            _size(comparison.after.file.bytes, comparison.size_change),
        )

    headline = f"(latency): at most {100 * max_regression:g}% slower or larger."
    columns = ("Before", "After", "Change", "Size")
    return _table(report, headline, columns, cells, "too noisy to be sure: repeat more")


def counts_markdown(report: GateReport[CountComparison], max_regression: float) -> str:
    """The same of counted instructions."""

    def cells(comparison: CountComparison) -> Sequence[str]:
        return (
            comparison.name,
            format_count(comparison.before.counts.total),
            format_count(comparison.after.counts.total),
            percent(comparison.change),
            _size(comparison.after.file.bytes, comparison.size_change),
        )

    headline = (
        f"(emulated, instructions of one inference): at most {100 * max_regression:g}% more or "
        "larger."
    )
    return _table(report, headline, ("Before", "After", "Change", "Size"), cells)


def accuracy_markdown(
    report: GateReport[AccuracyComparison], max_loss: float, max_regression: float
) -> str:
    """The same of top-1 accuracy, its change in percentage points."""

    def cells(comparison: AccuracyComparison) -> Sequence[str]:
        change = comparison.change
        low, value, high = (f"{100 * x:+.2f}" for x in (change.low, change.value, change.high))
        return (
            comparison.name,
            format_percent(comparison.before.top1, places=2),
            format_percent(comparison.after.top1, places=2),
            f"{value} [{low}, {high}]",
            _size(comparison.after.bytes, comparison.size_change),
        )

    headline = (
        f"(top-1 accuracy): at most {100 * max_loss:g} points lost, at most "
        f"{100 * max_regression:g}% larger."
    )
    columns = ("Before", "After", "Points", "Size")
    return _table(report, headline, columns, cells, "too few samples to be sure")


def missing_markdown(names: Sequence[str]) -> str:
    """Result files, or kinds of results, that only the baseline has."""
    lines = [f"- {_cell(name)}" for name in names]
    return "\n".join(["**Gate FAILED**: the baseline has results that were not made.", "", *lines])


def _table(
    report: GateReport[C],
    headline: str,
    columns: Sequence[str],
    cells: Callable[[C], Sequence[str]],
    doubt: str = "",
) -> str:
    word = "passed" if report.passed else "FAILED"
    lines = [
        f"**Gate {word}** {headline}",
        "",
        "| " + " | ".join(("File", *columns, "Result")) + " |",
        "|---|" + "---:|" * len(columns) + "---|",
    ]
    for row in report.rows:
        texts = (*cells(row.comparison), _result(row, doubt))
        lines.append("| " + " | ".join(_cell(text) for text in texts) + " |")
    empty = " |" * len(columns)
    lines += [f"| {_cell(n)} |{empty} **failed**: not measured |" for n in report.missing]
    lines += [f"| {_cell(n)} |{empty} new: not in the baseline |" for n in report.added]
    if report.remarks:
        lines += ["", *(f"- {_cell(remark)}" for remark in report.remarks)]
    return "\n".join(lines)


def _result(row: GateRow[C], doubt: str) -> str:
    if row.reasons:
        return "**failed**: " + ", ".join(row.reasons)
    return f"passed, but {doubt}" if row.undecided else "passed"


def _size(count: int, change: float) -> str:
    return f"{format_bytes(count)} ({percent(change)})"


def _cell(text: str) -> str:
    """A file name may hold what Markdown would read as a new cell or a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
