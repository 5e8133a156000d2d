"""Comparisons as tables and as plain data for JSON."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from edgeconv.bench.compare.accuracy import AccuracyComparison
from edgeconv.bench.compare.instructions import CountComparison
from edgeconv.bench.compare.latency import Comparison
from edgeconv.bench.compare.report import ComparisonReport
from edgeconv.report.tables import Column, table
from edgeconv.report.units import format_count, format_duration, format_percent

if TYPE_CHECKING:
    from rich.table import Table

AnyComparison = Comparison | CountComparison | AccuracyComparison
AnyReport = (
    ComparisonReport[Comparison]
    | ComparisonReport[CountComparison]
    | ComparisonReport[AccuracyComparison]
)


def comparison_table(report: AnyReport, title: str | None) -> Table:
    """One row a file: before, after, and the verdict in words."""
    columns = ("File", Column("Before", numeric=True), Column("After", numeric=True), "Verdict")
    rows = [(c.name, *_figures(c), c.sentence()) for c in report.comparisons]
    return table(columns, rows, title=title)


def notes(report: AnyReport) -> list[str]:
    """What the reader of the table must know."""
    found = [f"{name} is only in the first result" for name in report.only_before]
    found += [f"{name} is only in the second result" for name in report.only_after]
    return [*found, *_remarks(report)]


def plain(report: AnyReport) -> dict[str, object]:
    """The report as what JSON can hold; shares and ratios are fractions."""
    return {
        "files": [
            {"name": c.name, **_plain_figures(c), "verdict": c.verdict.value}
            for c in report.comparisons
        ],
        "only_before": report.only_before,
        "only_after": report.only_after,
        "cautions": _remarks(report),
    }


def _remarks(report: AnyReport) -> tuple[str, ...]:
    return report.remarks("the first result", "the second result")


def _figures(comparison: AnyComparison) -> tuple[str, str]:
    if isinstance(comparison, Comparison):
        medians = (m.summary.median.value for m in (comparison.before, comparison.after))
        before, after = (format_duration(median / 1e9) for median in medians)
    elif isinstance(comparison, CountComparison):
        totals = (m.counts.total for m in (comparison.before, comparison.after))
        before, after = (f"{format_count(total)} instr." for total in totals)
    else:
        shares = (accuracy.top1 for accuracy in (comparison.before, comparison.after))
        before, after = (format_percent(share, places=2) for share in shares)
    return before, after


def _plain_figures(comparison: AnyComparison) -> dict[str, object]:
    if isinstance(comparison, Comparison):
        return {
            "before_ns": comparison.before.summary.median.model_dump(),
            "after_ns": comparison.after.summary.median.model_dump(),
            "change": comparison.change.model_dump(),
            "size_change": comparison.size_change,
        }
    if isinstance(comparison, CountComparison):
        return {
            "before_instructions": comparison.before.counts.total,
            "after_instructions": comparison.after.counts.total,
            "change": comparison.change,
            "size_change": comparison.size_change,
        }
    return {
        "before_top1": comparison.before.top1,
        "after_top1": comparison.after.top1,
        "change": dataclasses.asdict(comparison.change),
        "size_change": comparison.size_change,
        "paired": comparison.paired,
    }
