"""Comparisons as tables, as Markdown, and as plain data for JSON and JUnit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeconv.bench.compare.comparison import Outcome
from edgeconv.markdown import in_markdown
from edgeconv.report.junit import Case
from edgeconv.report.stacked import stacked
from edgeconv.report.tables import Column

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from edgeconv.bench.compare.comparison import Comparison, ComparisonReport

    AnyReport = ComparisonReport[Comparison[Any, Any]]


def comparison_table(report: AnyReport, title: str | None) -> Table | Text:
    """One row per file; see :func:`comparison_cells`."""
    return stacked(*comparison_cells(report), title=title)


def comparison_cells(report: AnyReport) -> tuple[Sequence[Column], Sequence[Sequence[str]]]:
    """One row per file: before, after, and the verdict in words."""
    by = [c.judged_by() for c in report.comparisons]
    figure = (Column("By"),) if any(by) else ()
    rows = [
        (c.name, *_figures(c), *([name] if figure else []), c.sentence())
        for c, name in zip(report.comparisons, by, strict=True)
    ]
    before, after = Column("Before", numeric=True), Column("After", numeric=True)
    return (Column("File"), before, after, *figure, Column("Verdict")), rows


def notes(report: AnyReport) -> list[str]:
    """What the reader of the table must know."""
    found = [f"{name} is only in the first result" for name in report.only_before]
    found += [f"{name} is only in the second result" for name in report.only_after]
    return [*found, *_remarks(report)]


def markdown(reports: Mapping[str, AnyReport], remarks: Sequence[str]) -> str:
    """The same as Markdown for a pull request: a table per report, with its notes below."""
    parts = []
    for name, report in reports.items():
        lines = [f"### {in_markdown(name)}", ""] if len(reports) > 1 else []
        lines += ["| File | Before | After | Verdict |", "|---|---:|---:|---|"]
        for c in report.comparisons:
            cells = (c.name, *_figures(c), c.sentence())
            lines.append("| " + " | ".join(map(in_markdown, cells)) + " |")
        if found := notes(report):
            lines += ["", *(f"- {in_markdown(note)}" for note in found)]
        parts.append("\n".join(lines))
    if remarks:
        parts.append("\n".join(f"- {in_markdown(remark)}" for remark in remarks))
    return "\n\n".join(parts)


def cases(reports: Mapping[str, AnyReport]) -> list[Case]:
    """The same for JUnit. Without limits nothing fails; what has doubts is inconclusive."""
    return [
        Case(name, c.name, Outcome.INCONCLUSIVE if c.doubts else Outcome.PASS, _in_words(c))
        for name, report in reports.items()
        for c in report.comparisons
    ]


def _in_words(comparison: Comparison[Any, Any]) -> str:
    before, after = _figures(comparison)
    return "; ".join((f"{before} became {after}: {comparison.sentence()}", *comparison.doubts))


def plain(report: AnyReport) -> dict[str, object]:
    """The report as what JSON can hold; shares and ratios are fractions."""
    return {
        "files": [
            {"name": c.name, **c.plain(), "verdict": c.verdict.value, "doubts": c.doubts}
            for c in report.comparisons
        ],
        "only_before": report.only_before,
        "only_after": report.only_after,
        "cautions": _remarks(report),
    }


def _remarks(report: AnyReport) -> tuple[str, ...]:
    return report.remarks("the first result", "the second result")


def _figures(comparison: Comparison[Any, Any]) -> tuple[str, str]:
    before, after = (f"{figure} {comparison.UNIT}".rstrip() for figure in comparison.figures())
    return before, after
