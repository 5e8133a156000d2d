"""Sentences on a terminal are broken between words; elsewhere lines stay whole, to be searched."""

from __future__ import annotations

import os
import textwrap
from typing import TextIO

INDENT = "  "


def for_terminal(line: str, stream: TextIO) -> str:
    """The line as ``stream`` shows it best: no wider than the terminal that it is, if it is one.

    Names longer than that stay whole, so that they can be copied.
    """
    width = _width(stream)
    if width is None or len(line) <= width:
        return line
    lines = textwrap.wrap(
        line, width, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines)


def _width(stream: TextIO) -> int | None:
    """The columns of a terminal; None for anything else."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):  # no terminal, or a stream without a descriptor
        return None
