"""The table of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.report.tables import Column, table
from edgeconv.units import format_percent

if TYPE_CHECKING:
    from rich.table import Table

    from edgeconv.evaluation import Evaluation

COLUMNS = ("file", Column("top-1", numeric=True), Column("correct", numeric=True), "runtime")
NAMED = 3  # unreadable samples that a note names


def accuracy_table(result: Evaluation) -> Table:
    """One row per file; see :func:`accuracy_cells`."""
    return table(*accuracy_cells(result))


def accuracy_cells(
    result: Evaluation,
) -> tuple[Sequence[Column | str], Sequence[Sequence[str]]]:
    """One row per file."""
    rows = [
        (
            accuracy.path,
            format_percent(accuracy.top1, places=2),
            f"{accuracy.correct} of {result.samples}",
            accuracy.runtime,
        )
        for accuracy in result.results
    ]
    return COLUMNS, rows


def notes(result: Evaluation) -> list[str]:
    """How many samples could not be read, and the names of the first of them."""
    if not result.skipped:
        return []
    return [f"{len(result.skipped)} unreadable: {', '.join(result.skipped[:NAMED])}"]
