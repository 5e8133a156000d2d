"""The tables of a sustained measurement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.report.stacked import fits, stacked
from edgeconv.report.tables import Column, table
from edgeconv.units import format_percent, significant

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

    from edgeconv.bench.sustained import SustainedModel, SustainedResult

COLUMNS = (
    Column("File"),
    Column("Until", numeric=True),
    Column("Inferences/s", numeric=True),
    Column("Temperature", numeric=True),
    Column("CPU frequency", numeric=True),
    Column("Power", numeric=True),
    Column("Throttle bits"),
)
ROWS = 12  # per file


def sustained_table(result: SustainedResult) -> Table | Group:
    """Show :func:`sustained_cells`, the name of each file above its rows where that is long."""
    from rich.console import Group

    columns, cells = sustained_cells(result)
    if fits(columns, cells):
        return table(columns, cells)
    parts: list[RenderableType] = []
    for model in result.models:
        rows = [row[1:] for row in _rows(model)]
        parts += [*([""] if parts else []), stacked(columns[1:], rows, title=model.file.name)]
    return Group(*parts)


def sustained_cells(result: SustainedResult) -> tuple[Sequence[Column], list[list[str]]]:
    """Throughput over the time of each file, and the board's state at the end of each row."""
    return COLUMNS, [row for model in result.models for row in _rows(model)]


def notes(result: SustainedResult) -> list[str]:
    """What was lost from the beginning to the end, the energy of an inference, and disturbances."""
    from edgeconv.bench.sustained import LEAST_READINGS

    found = []
    for model in result.models:
        name, lost = model.file.name, model.lost
        if lost is None:
            count = "1 reading" if len(model.stretches) == 1 else f"{len(model.stretches)} readings"
            found.append(f"{name}: {count}, a trend needs {LEAST_READINGS}; measure for longer")
        else:
            word = "slower" if lost >= 0 else "faster"
            found.append(f"{name}: {format_percent(abs(lost))} {word} at the end than at first")
        if model.joules is not None:
            found.append(
                f"{name}: {significant(model.joules)} J per inference, of the rails that the board "
                "measures"
            )
        if model.cut is not None:
            seconds = model.stretches[-1].seconds
            found.append(f"{name}: cut short after {seconds:.1f} s: {model.cut}")
    return [*found, *result.warnings]


def _rows(model: SustainedModel) -> list[list[str]]:
    step = -(-len(model.stretches) // ROWS)
    rows = []
    for first in range(0, len(model.stretches), step):
        last = min(first + step, len(model.stretches))
        end = model.stretches[last - 1]
        hertz, celsius = end.conditions.frequencies_hz, end.conditions.temperature_c
        rows.append(
            [
                "" if first else model.file.name,
                f"{end.seconds:.1f} s",
                significant(model.throughput(first, last)),
                "-" if celsius is None else f"{celsius:.1f} °C",
                f"{max(hertz) / 1e6:.0f} MHz" if hertz else "-",
                "-" if end.watts is None else f"{end.watts:.2f} W",
                end.conditions.throttled or "-",
            ]
        )
    return rows
