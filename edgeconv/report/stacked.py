"""Tables that stay within 80 columns: names that are too long stand above their figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.printable import printable
from edgeconv.report.tables import Column, table

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 80
INDENT = "  "
GAP = "  "


def stacked(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str | None = None
) -> Table:
    """A table whose first column moves onto lines of its own where the rest would not fit.

    Names are never cut or wrapped, so that they can be copied.
    """
    from rich.cells import cell_len

    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [
        max(cell_len(cell) for cell in cells)
        for cells in zip([column.name for column in columns], *shown, strict=True)
    ]
    if sum(widths) + len(GAP) * (len(widths) - 1) <= WIDTH:
        return table(columns, rows, title=title)

    def line(cells: Sequence[str]) -> str:
        parts = []
        for column, width, cell in zip(columns[1:], widths[1:], cells, strict=True):
            space = " " * (width - cell_len(cell))
            parts.append(space + cell if column.numeric else cell + space)
        return (INDENT + GAP.join(parts)).rstrip()

    header = Column(f"{columns[0].name}\n{line([column.name for column in columns[1:]])}")
    lines = [[text] for row in shown for text in (row[0], line(row[1:]))]
    return table([header], lines, title=title)
