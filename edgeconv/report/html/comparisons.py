"""What the page says of two results that were compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.bench.compare.latency import LatencyComparison
from edgeconv.report.compare import comparison_cells, notes
from edgeconv.report.html.charts import latency_dots
from edgeconv.report.html.page import Block, Section, html_table

if TYPE_CHECKING:
    from edgeconv.report.compare import AnyReport


def comparison_section(name: str, report: AnyReport) -> Section:
    """The verdicts; of latencies, every inference on both sides, too.

    Args:
        name: What was compared.
        report: What was found.
    """
    blocks: list[Block] = [html_table("Before and after", *comparison_cells(report))]
    samples = {
        f"{compared.name}, {side}": [run.samples_ns for run in model.processes]
        for compared in report.comparisons
        if isinstance(compared, LatencyComparison)
        for side, model in (("before", compared.before), ("after", compared.after))
    }
    if samples:
        blocks.append(latency_dots("All inferences", samples))
    return Section(name, blocks=tuple(blocks), notes=tuple(notes(report)))
