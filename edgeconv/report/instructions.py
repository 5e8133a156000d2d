"""The table of counted instructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.bench.xnnpack import runtime_name
from edgeconv.report.stacked import stacked
from edgeconv.report.tables import Column
from edgeconv.units import format_count, format_percent, format_ratio

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from edgeconv.bench.instructions import CountedModel, CountResult

CLASSES = {
    "load_store": "Load/store",
    "simd": "SIMD",
    "fmla": "FMLA",
    "dot_product": "Dot product",
    "matrix": "Matrix",
}


def counts_table(result: CountResult) -> Table | Text:
    """One row per file; see :func:`counts_cells`."""
    return stacked(*counts_cells(result), title=f"Emulated {result.board} ({result.cpu})")


def counts_cells(result: CountResult) -> tuple[Sequence[Column], list[list[str]]]:
    """One row per file: all instructions, and the share of each class."""
    most = max(model.counts.total for model in result.models)
    several = len(result.models) > 1
    columns = [
        Column("File"),
        Column("Runtime"),
        Column("Instructions", numeric=True),
        *(Column(name, numeric=True) for name in CLASSES.values()),
        *([Column("Reduction from the highest count", numeric=True)] if several else []),
    ]
    rows = [
        [
            model.file.name,
            runtime_name(f"{model.runtime.value} {model.runtime_version}", result.options.xnnpack),
            format_count(model.counts.total),
            *(_share(model, name) for name in CLASSES),
            *([format_ratio(most / max(1, model.counts.total))] if several else []),
        ]
        for model in result.models
    ]
    return columns, rows


def notes(result: CountResult) -> list[str]:
    """What the reader of the table must know."""
    return [
        "emulated: instructions of one inference on one thread, a cost and not a time; measure "
        "latency on a board",
        *(f"left out: {one.reason}" for one in result.left_out),
    ]


def _share(model: CountedModel, name: str) -> str:
    count = getattr(model.counts, name)
    return "-" if count is None else format_percent(count / max(1, model.counts.total))
