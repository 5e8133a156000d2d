"""``--store``: where the history lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgeconv.cli.completions import complete_file

Command = TypeVar("Command", bound=Callable[..., Any])


def store_option(command: Command) -> Command:
    """Give a command ``--store``."""
    option = click.option(
        "--store",
        envvar="EDGECONV_STORE",
        metavar="FILE|ADDRESS",
        shell_complete=complete_file,
        help="The history: an SQLite file, or postgresql://user@host/database of a team; also "
        "EDGECONV_STORE.  [default: an SQLite file of yours]",
    )
    return option(command)
