"""What the page says of two results that were compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeconv.bench.compare.latency import LatencyComparison
from edgeconv.report.compare import comparison_cells, notes
from edgeconv.report.gate import figure_cells, result_words
from edgeconv.report.html.charts import latency_dots
from edgeconv.report.html.page import Block, Section, html_table
from edgeconv.report.tables import Column

if TYPE_CHECKING:
    from edgeconv.bench.compare.comparison import Comparison, Limits
    from edgeconv.bench.compare.gate import GateReport
    from edgeconv.bench.compare.kind import ResultKind
    from edgeconv.report.compare import AnyReport


def comparison_section(name: str, report: AnyReport) -> Section:
    """The verdicts; of latencies, every inference on both sides, too.

    Args:
        name: What was compared.
        report: What was found.
    """
    blocks: list[Block] = [html_table("Before and after", *comparison_cells(report))]
    return Section(
        name, blocks=(*blocks, *_latencies(report.comparisons)), notes=tuple(notes(report))
    )


def gate_section(name: str, report: GateReport, kind: ResultKind[Any], limits: Limits) -> Section:
    """What a gate says of every file, and why."""
    columns = [
        Column("File"),
        *(Column(each, numeric=True) for each in ("Before", "After", kind.change_column, "Size")),
        Column("Result"),
    ]
    rows = [
        (
            row.comparison.name,
            *figure_cells(row.comparison),
            ": ".join(filter(None, (outcome.value, why))),
        )
        for row in report.rows
        for outcome, why in [result_words(row, kind.doubt)]
    ]
    rows += [(file, "", "", "", "", "failed: not measured") for file in report.missing]
    rows += [(file, "", "", "", "", "new: not in the baseline") for file in report.added]
    return Section(
        name,
        facts=(("the gate", f"{report.outcome.value} {kind.headline(limits)}"),),
        blocks=(
            html_table("Files at the gate", columns, rows),
            *_latencies([row.comparison for row in report.rows]),
        ),
        notes=report.remarks,
    )


def _latencies(comparisons: Sequence[Comparison[Any, Any]]) -> list[Block]:
    """Every inference on both sides, where latencies were compared."""
    samples = {
        f"{compared.name}, {side}": [run.samples_ns for run in model.processes]
        for compared in comparisons
        if isinstance(compared, LatencyComparison)
        for side, model in (("before", compared.before), ("after", compared.after))
    }
    return [latency_dots("All inferences", samples)] if samples else []
