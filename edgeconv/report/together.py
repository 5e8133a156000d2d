"""The table of models that ran at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.report.stacked import stacked
from edgeconv.report.tables import Column
from edgeconv.units import format_duration, significant

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from edgeconv.bench.result import Interval
    from edgeconv.bench.together import TogetherResult

COLUMNS = (
    Column("File"),
    Column("Alone", numeric=True),
    Column("Beside the others", numeric=True),
    Column("Times as long", numeric=True),
)


def together_table(result: TogetherResult) -> Table | Text:
    """Show :func:`together_cells`."""
    return stacked(*together_cells(result))


def together_cells(result: TogetherResult) -> tuple[Sequence[Column], list[list[str]]]:
    """One row per file: its median with and without the others, with intervals."""
    single = result.options.repetitions < 2
    rows = [
        [
            model.file.name,
            _duration(model.alone_ns, single),
            _duration(model.together_ns, single),
            _ratio(model.slowdown, single),
        ]
        for model in result.models
    ]
    return COLUMNS, rows


def notes(result: TogetherResult) -> list[str]:
    """What the reader of the table must know."""
    single = result.options.repetitions < 2
    why = "no interval: one process does not show how much processes differ"
    return [*([why] if single else []), *result.warnings]


def _duration(found: Interval, single: bool) -> str:
    bounds = None if single else (found.low / 1e9, found.high / 1e9)
    return format_duration(found.value / 1e9, interval=bounds)


def _ratio(found: Interval, single: bool) -> str:
    bounds = "" if single else f" [{significant(found.low)}, {significant(found.high)}]"
    return f"{significant(found.value)}{bounds}"
