"""The gate's reports as Markdown tables, and as plain data for JSON and JUnit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeconv.bench.compare.comparison import Outcome
from edgeconv.bench.compare.gate import worst
from edgeconv.markdown import in_markdown
from edgeconv.report.junit import Case
from edgeconv.units import format_bytes, format_change

if TYPE_CHECKING:
    from edgeconv.bench.compare.comparison import Comparison, Limits
    from edgeconv.bench.compare.gate import GateReport, GateRow
    from edgeconv.bench.compare.kind import ResultKind


NOT_MADE = "the baseline has this result, and it was not made"


@dataclass(frozen=True)
class Gates:
    """Everything that one call of the gate checked.

    ``reports`` are by name, with their kinds; ``missing`` are result files, or kinds of results,
    that only the baseline has, and ``notes`` name what else has no partner.
    """

    limits: Limits
    reports: Mapping[str, tuple[ResultKind[Any], GateReport]]
    missing: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def outcome(self) -> Outcome:
        """What all of it says together."""
        failed = [Outcome.FAIL] if self.missing else []
        return worst([*failed, *(report.outcome for _, report in self.reports.values())])

    def markdown(self) -> str:
        """A table per report, and what is missing."""
        parts = []
        for name, (kind, report) in self.reports.items():
            text = markdown(report, kind, self.limits)
            parts += [f"### {in_markdown(name)}", text] if len(self.reports) > 1 else [text]
        if self.missing:
            parts.append(missing_markdown(self.missing))
        if self.notes:
            parts.append("\n".join(f"- {in_markdown(note)}" for note in self.notes))
        return "\n\n".join(parts)

    def cases(self) -> list[Case]:
        """The verdict of every file, and of every result that is missing."""
        found = [
            case
            for name, (kind, report) in self.reports.items()
            for case in _cases(name, report, kind.doubt)
        ]
        return [*found, *(Case(name, name, Outcome.FAIL, NOT_MADE) for name in self.missing)]

    def plain(self) -> dict[str, object]:
        """What JSON can hold; shares and ratios are fractions."""
        return {
            "outcome": self.outcome.value,
            "gates": [
                {"of": name, "outcome": report.outcome.value, **_plain(report)}
                for name, (_, report) in self.reports.items()
            ],
            "missing": self.missing,
            "notes": self.notes,
        }


def _plain(report: GateReport) -> dict[str, object]:
    return {
        "files": [
            {
                "name": row.comparison.name,
                **row.comparison.plain(),
                "outcome": row.outcome.value,
                "reasons": row.reasons,
                "doubts": row.comparison.doubts,
            }
            for row in report.rows
        ],
        "missing": report.missing,
        "added": report.added,
        "remarks": report.remarks,
    }


def _cases(suite: str, report: GateReport, doubt: str) -> list[Case]:
    cases = []
    for row in report.rows:
        before, after = row.comparison.figures()
        words = [f"{before} became {after} ({row.comparison.format_change()})", *row.reasons]
        if row.outcome is Outcome.INCONCLUSIVE:
            words += row.comparison.doubts or (doubt,)
        cases.append(Case(suite, row.comparison.name, row.outcome, "; ".join(words)))
    cases += [Case(suite, name, Outcome.FAIL, "not measured") for name in report.missing]
    cases += [Case(suite, name, Outcome.PASS, "not in the baseline") for name in report.added]
    return cases


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
    return tuple(map(in_markdown, (comparison.name, *figure_cells(comparison))))


def _result(row: GateRow, doubt: str) -> str:
    outcome, why = result_words(row, doubt)
    word = outcome.value if outcome is Outcome.PASS else f"**{outcome.value}**"
    return f"{word}: {in_markdown(why)}" if why else word
