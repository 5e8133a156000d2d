"""Tables that stay within 80 columns: names that are too long stand above their figures."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from edgeconv.report.tables import WIDTH, Column, cell_text, console, print_notes, table

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

INDENT = "  "
GAP = "  "


def print_fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, wide: bool) -> None:
    """Print a table without as many spare columns, the last ones first, as would not fit.

    A note names what was left out.

    Args:
        columns: The columns.
        rows: The cells.
        wide: Whether to show every column in one line, however long it gets.
    """
    if wide:
        console().print(table(columns, rows, whole=True))
        return
    kept = fitting(columns, rows)
    # A column without a name is a drawing of the one beside it.
    left_out = [each.name for i, each in enumerate(columns) if i not in kept and each.name]
    console().print(stacked([columns[i] for i in kept], [[row[i] for i in kept] for row in rows]))
    if left_out:
        print_notes([wide_note(left_out)])


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """The columns without as many spare ones, the last ones first, as would not fit."""
    kept = list(range(len(columns)))
    while not fits([columns[i] for i in kept], [[row[i] for i in kept] for row in rows]):
        spare = [i for i in kept if columns[i].spare]
        if not spare:
            break
        kept.remove(spare[-1])
    return kept


def fits(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a table has all columns in one line."""
    return _width(columns, rows) <= WIDTH


def wide_note(left_out: Sequence[str]) -> str:
    """What a note says of the columns that were left out."""
    return f"--wide also shows {', '.join(left_out)}"


def print_facts(rows: Iterable[tuple[str, str]], *, separator: str = GAP) -> None:
    """Print names with what there is to say of each, on several lines where it is long.

    Args:
        rows: The names and the texts.
        separator: What stands between the two. With gaps, the texts stand below each other.
    """
    from rich.cells import cell_len

    aligned = separator == GAP
    shown = [
        (cell_text(name), " ".join(cell_text(word) for word in text.split(" ")))
        for name, text in rows
    ]
    widest = max((cell_len(name) for name, _ in shown), default=0)
    out = console()
    for name, text in shown:
        first = name + (" " * (widest - cell_len(name)) if aligned else "") + separator
        lines = textwrap.wrap(
            text,
            WIDTH,
            initial_indent=first,
            subsequent_indent=" " * (widest + len(GAP)) if aligned else INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines or [first.rstrip()]:
            out.print(line)


def _width(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    return sum(_widths(columns, rows)) + len(GAP) * (len(columns) - 1)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len

    cells = zip([column.name for column in columns], *rows, strict=True)
    return [max(cell_len(cell_text(cell)) for cell in each) for each in cells]


def stacked(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str | None = None
) -> Table | Text:
    """A table whose first column moves onto lines of its own where the rest would not fit.

    Names are never wrapped, so that they can be copied, and only endless ones lose their middle.
    Wide figures stand closer together, and on several lines where they still do not fit into one.
    """
    from rich.cells import cell_len
    from rich.text import Text

    widths = _widths(columns, rows)
    if fits(columns, rows):
        return table(columns, rows, title=title)

    shown = [[cell_text(cell) for cell in row] for row in rows]
    places = range(1, len(widths))
    gap = GAP if _line_width(places, widths, GAP) <= WIDTH else " "
    groups = _grouped(widths, gap)

    def lines_of(cells: Sequence[str]) -> list[str]:
        found = []
        for group in groups:
            parts = []
            for place in group:
                space = " " * (widths[place] - cell_len(cells[place]))
                numeric = columns[place].numeric
                parts.append(space + cells[place] if numeric else cells[place] + space)
            found.append((INDENT + gap.join(parts)).rstrip())
        return [cells[0], *found]

    # Not a table of one column, which would pad every line to the length of the longest name.
    names = lines_of([column.name for column in columns])
    heading = "\n".join([*([cell_text(title)] if title else []), *names])
    lines = [line for row in shown for line in lines_of(row)]
    drawn = Text(heading, style="bold", no_wrap=True, overflow="ignore")
    return drawn.append("\n" + "\n".join(lines), style="not bold")


def _line_width(places: Sequence[int], widths: Sequence[int], gap: str) -> int:
    """The width of a line below a name that has the columns of these places."""
    return len(INDENT) + sum(widths[place] for place in places) + len(gap) * (len(places) - 1)


def _grouped(widths: Sequence[int], gap: str) -> list[list[int]]:
    """The places of the columns behind the first, by the line that they stand on."""
    groups: list[list[int]] = []
    for place in range(1, len(widths)):
        if groups and _line_width([*groups[-1], place], widths, gap) <= WIDTH:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups
