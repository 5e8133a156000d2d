"""The table of files from a camera's frame to the decoded answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.report.stacked import stacked
from edgeconv.report.tables import Column
from edgeconv.units import format_duration, format_percent

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from edgeconv.bench.end_to_end import EndToEndModel, EndToEndResult

COLUMNS = (
    Column("File and steps"),
    Column("Median [95 % interval]", numeric=True),
    Column("Share", numeric=True),
)


def end_to_end_table(result: EndToEndResult) -> Table | Text:
    """Show :func:`end_to_end_cells`."""
    return stacked(*end_to_end_cells(result))


def end_to_end_cells(result: EndToEndResult) -> tuple[Sequence[Column], list[list[str]]]:
    """One row per file, from frame to answer, and one per step below it."""
    return COLUMNS, [row for model in result.models for row in _rows(model)]


def notes(result: EndToEndResult) -> list[str]:
    """What the reader of the table must know."""
    single = result.options.repetitions < 2
    why = "no interval: one process does not show how much processes differ"
    width, height = result.frame
    about = f"from a synthetic RGB frame of {width}x{height} to the decoded answer"
    left_out = [f"left out: {one.reason}" for one in result.left_out]
    return [about, *left_out, *([why] if single else []), *result.warnings]


def _rows(model: EndToEndModel) -> list[list[str]]:
    total, steps = model.total_ns, model.steps_ns
    bounds = (total.low / 1e9, total.high / 1e9) if len(model.processes) > 1 else None
    whole = sum(steps.values()) or 1.0
    return [
        [model.file.name, format_duration(total.value / 1e9, interval=bounds), ""],
        *(
            [f"  {name}", format_duration(ns / 1e9), format_percent(ns / whole)]
            for name, ns in steps.items()
        ),
    ]
