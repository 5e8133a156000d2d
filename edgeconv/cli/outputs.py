"""What commands print and write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeconv.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])

quiet_option = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    help="No progress, and not which command comes next; the table is printed.",
)


def html_option(command: Command) -> Command:
    """Give a command ``--html``, whose value is the parameter ``page``."""
    option = click.option(
        "--html",
        "page",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Also write a page with tables and charts, which needs nothing else to be read.",
    )
    return option(command)


def refuse_undrawable(page: Path | None) -> None:
    """Raise EdgeconvError, before anything slow, if no page can be drawn and written there."""
    if page is None:
        return
    from edgeconv.report.plotting import need_matplotlib

    refuse_unwritable(page)
    need_matplotlib()


def refuse_unwritable(out: Path | None) -> None:
    """Raise UsageError, before anything slow, if a result cannot be written to ``out``."""
    if out is None:
        return
    if out.is_dir():
        raise UsageError(f"{out} cannot be written: it is a folder", hint="name a file")
    if not out.absolute().parent.is_dir():
        raise UsageError(
            f"{out} cannot be written: its folder does not exist", hint="make the folder first"
        )
