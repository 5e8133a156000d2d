"""What every command prints with: consoles, tables and progress.

Importing this module is cheap: rich is imported by the functions that draw.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from edgeconv.printable import printable
from edgeconv.progress import Progress, goes_on, no_progress
from edgeconv.report.output import results
from edgeconv.report.progress_lines import progress_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID
    from rich.table import Table

# Wide enough that nothing is ever wrapped or cut: a terminal that is narrower lets lines run over,
# and file names stay whole.
FULL_WIDTH = 10_000
WIDTH = 80  # of tables
# Of a name, which is whole up to here so that it can be copied; JSON has longer ones whole too.
LONGEST_NAME = 400


@dataclass(frozen=True)
class Column:
    """A table's column.

    Attributes:
        name: Its heading.
        numeric: Whether it holds numbers, which are aligned to the right.
        spare: Whether it may be left out where the table would not fit.
    """

    name: str
    numeric: bool = False
    spare: bool = False


def console() -> Console:
    """A console on standard output, as wide as what is printed; see :func:`_console`."""
    return _console(FULL_WIDTH, stderr=False)


def error_console() -> Console:
    """A console on standard error, for progress and warnings; see :func:`_console`."""
    width = None if sys.stderr.isatty() else FULL_WIDTH
    return _console(width, stderr=True)


def _console(width: int | None, *, stderr: bool, file: TextIO | None = None) -> Console:
    """Color only on a terminal and without ``NO_COLOR``; ``width`` None is the terminal's.

    A string is one printable line: no markup, no emoji codes, no highlighting of numbers.
    """
    from edgeconv.report.printable_console import PrintableConsole

    return PrintableConsole(
        file=file or (None if stderr else results()),
        stderr=stderr,
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
    )


def table(
    columns: Sequence[Column | str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    header: bool = True,
    whole: bool = False,
) -> Table:
    """A table without frame for ``console().print``; a bare string is a column of text.

    Control characters in the cells (file and tensor names are not ours) are shown escaped, and of
    names without end the two ends, unless they are to be ``whole``.
    """
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
        show_header=header,
        # Whole, as names are: a title would be wrapped to the width of its table.
        title=title and Text(cell_text(title), style="bold", no_wrap=True, overflow="ignore"),
        title_justify="left",
    )
    for column in columns:
        shown = column if isinstance(column, Column) else Column(column)
        drawn.add_column(shown.name, justify="right" if shown.numeric else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*(Text(printable(cell) if whole else cell_text(cell)) for cell in row))
    return drawn


def cell_text(text: str, widest: int = LONGEST_NAME) -> str:
    """``text`` made printable, without its middle where it would be wider than a name may be."""
    from rich.cells import cell_len, set_cell_size

    shown = printable(text)
    if cell_len(shown) <= widest:
        return shown
    half = (widest - 1) // 2
    head, tail = set_cell_size(shown, half), set_cell_size(shown[::-1], half)
    return f"{head.rstrip()}…{tail.rstrip()[::-1]}"


def print_notes(notes: Iterable[str]) -> None:
    """Print what a reader must know besides the table, one line per note, on standard error."""
    for note in notes:
        error_console().print(f"note: {note}")


@contextmanager
def progress(first: str, quiet: bool, *, steps: bool = False) -> Iterator[Progress]:
    """Show progress on standard error: a bar on a terminal, else a line now and then.

    Args:
        first: The step to show until one is reported.
        quiet: Show nothing.
        steps: Whether several steps follow each other: a line says then that the time left is that
            of one. A bar begins anew with each.

    Yields:
        What to report to.
    """
    if quiet:
        yield no_progress
        return
    with _bar(first) if sys.stderr.isatty() else progress_lines(first, steps=steps) as show:
        yield show


@contextmanager
def _bar(first: str) -> Iterator[Progress]:
    """Draw a bar with the time that is left, and remove it at the end.

    A step of one part has no count and no time left, and its bar pulses while its clock runs. So
    does the bar of a step that does not know how much there is, beside the count of what is done.
    """
    from rich import progress as rich_progress

    # The stream itself: while a network is traced, what is printed on standard error is discarded.
    console = _console(None, stderr=True, file=sys.stderr)

    with rich_progress.Progress(
        rich_progress.SpinnerColumn(),
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.TextColumn("{task.fields[count]}"),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(compact=True),
        rich_progress.TextColumn("{task.fields[left]}"),
        console=console,
        transient=True,
    ) as bar:

        def add(step: str, total: int) -> TaskID:
            counted = total if total > 1 else None
            return bar.add_task(printable(step), total=counted, count="", left="left" * (total > 1))

        task, current, reported = add(first, 0), first, (0, 0)

        def show(step: str, done: int, total: int) -> None:
            nonlocal task, current, reported
            begins = not goes_on(reported, (done, total), same_name=step == current)
            if begins:
                bar.remove_task(task)  # the time that is left is that of this step
                task = add(step, total)
            current, reported = step, (done, total)
            bar.update(task, description=printable(step))
            if total > 1:
                bar.update(task, completed=done, total=total, count=f"{done}/{total}", left="left")
            elif total == 0 and done > 0:
                bar.update(task, count=f"{done} done")
            if begins:  # at once: some steps leave no other thread a turn
                bar.refresh()

        yield show
