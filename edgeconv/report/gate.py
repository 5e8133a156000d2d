"""The gate's reports as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeconv.bench.compare.comparison import Outcome
from edgeconv.markdown import in_markdown
from edgeconv.units import format_bytes, format_change

if TYPE_CHECKING:
    from edgeconv.bench.compare.comparison import Comparison, Limits
    from edgeconv.bench.compare.gate import GateReport, GateRow
    from edgeconv.bench.compare.kind import ResultKind


def markdown(report: GateReport, kind: ResultKind[Any], limits: Limits) -> str:
    """Figures and sizes as a Markdown table for a pull request, with one line of verdict above."""
    word = report.outcome.value if report.outcome is Outcome.PASS else report.outcome.value.upper()
    columns = ("Before", "After", kind.change_column, "Size")
    lines = [
        f"**Gate {word}** {kind.headline(limits)}",
        "",
        "| " + " | ".join(("File", *columns, "Result")) + " |",
        "|---|" + "---:|" * len(columns) + "---|",
    ]
    for row in report.rows:
        cells = (*_cells(row.comparison), _result(row, kind.doubt))
        lines.append("| " + " | ".join(cells) + " |")
    empty = " |" * len(columns)
    lines += [f"| {in_markdown(n)} |{empty} **failed**: not measured |" for n in report.missing]
    lines += [f"| {in_markdown(n)} |{empty} new: not in the baseline |" for n in report.added]
    if report.remarks:
        lines += ["", *(f"- {in_markdown(remark)}" for remark in report.remarks)]
    return "\n".join(lines)


def missing_markdown(names: Sequence[str]) -> str:
    """Result files, or kinds of results, that only the baseline has."""
    lines = [f"- {in_markdown(name)}" for name in names]
    return "\n".join(["**Gate FAILED**: the baseline has results that were not made.", "", *lines])


def figure_cells(comparison: Comparison[Any, Any]) -> tuple[str, ...]:
    """The figure before and after, its change, and the size."""
    size = f"{format_bytes(comparison.sizes[1])} ({format_change(comparison.size_change)})"
    return (*comparison.figures(), comparison.format_change(), size)


def result_words(row: GateRow, doubt: str) -> tuple[Outcome, str]:
    """What the gate says of a file, and why; ``doubt`` is why it does not, in general."""
    if row.reasons:
        return Outcome.FAIL, ", ".join(row.reasons)
    if row.outcome is Outcome.INCONCLUSIVE:
        return Outcome.INCONCLUSIVE, ", ".join(row.comparison.doubts) or doubt
    return Outcome.PASS, ""


def _cells(comparison: Comparison[Any, Any]) -> tuple[str, ...]:
    figures = figure_cells(comparison)
    return (in_markdown(comparison.name), *(text.replace("<", "\\<") for text in figures))


def _result(row: GateRow, doubt: str) -> str:
    outcome, why = result_words(row, doubt)
    word = outcome.value if outcome is Outcome.PASS else f"**{outcome.value}**"
    return f"{word}: {in_markdown(why)}" if why else word
