"""Standard output and standard error: nothing is printed but through here and ``tables.py``.

Whatever is printed is made printable here, not where it is said.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from edgeconv.errors import NO_ROOM
from edgeconv.printable import in_plain_characters, printable, printable_json, printable_lines
from edgeconv.wrapping import for_terminal

if TYPE_CHECKING:
    from pydantic import BaseModel

_PLAIN = "edgeconv.plain"


_kept: TextIO | None = None


def results() -> TextIO:
    """The stream for results: standard output, also within :func:`apart_from_results`."""
    return sys.stdout if _kept is None else _kept


@contextmanager
def apart_from_results() -> Iterator[None]:
    """Send what code of the user's and libraries print to standard error.

    Networks, factories, data and metrics are the user's code, and what it prints would stand in
    the middle of a table or a JSON document.
    """
    global _kept  # there is one standard output
    outer, _kept = _kept, results()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _kept = outer


def prepare_streams() -> None:
    """Make every character printable, whatever the encoding; a closed stream discards."""
    codecs.register_error(_PLAIN, in_plain_characters)
    _open_missing_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # It stays open until the process ends, as the stream that it stands for would.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_PLAIN)


def _open_missing_descriptors() -> None:
    """Keep files from taking the numbers of closed streams, to which native libraries write."""
    while (opened := os.open(os.devnull, os.O_RDWR)) < 3:  # the lowest number that is free
        pass
    os.close(opened)


def is_of_printing(error: OSError) -> bool:
    """Whether an error is of standard output, which took no more of what was printed."""
    try:
        results().flush()
    except OSError:
        return True
    # What is larger than its buffer is given up at once, and no longer there to be written. An
    # error of any other file without room has its name, or was made one of ours.
    return error.errno in NO_ROOM and error.filename is None


def give_up_streams() -> None:
    """Keep Python from writing at its end what a full disk or a closed pipe does not take."""
    _give_up(sys.stdout)
    _give_up(sys.stderr)


def _give_up(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def echo_line(
    text: str,
    *,
    err: bool = False,
    color: str | None = None,
    bold: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Print one line, whatever ``text`` holds, on ``stream`` if one is given."""
    file = stream or (None if err else results())
    click.echo(_styled(printable(text), color, bold=bold), file=file, err=err)


def echo_sentence(text: str, *, err: bool = False, color: str | None = None) -> None:
    """Print a sentence of any length, which a terminal shows broken between words."""
    file = sys.stderr if err else results()
    click.echo(_styled(for_terminal(printable(text), file), color), file=file)


def _styled(text: str, color: str | None, *, bold: bool = False) -> str:
    """The text in a color, unless ``NO_COLOR`` is set; click itself only looks for a terminal."""
    if os.environ.get("NO_COLOR"):
        color = None
    return click.style(text, fg=color, bold=bold or None) if color or bold else text


def echo_lines(text: str, *, err: bool = False) -> None:
    """Print lines whose breaks are ours; on standard error if ``err``."""
    click.echo(printable_lines(text), file=None if err else results(), err=err)


def echo_json(document: BaseModel | Mapping[str, object] | Sequence[object]) -> None:
    """Print a document as JSON that any terminal and encoding can show."""
    # Without pydantic, which `edgeconv doctor` may find missing.
    if isinstance(document, (Mapping, Sequence)):
        text = json.dumps(document, indent=1, ensure_ascii=False)
    else:
        text = document.model_dump_json(indent=1)
    encoding = codecs.lookup(getattr(results(), "encoding", None) or "utf-8").name
    click.echo(printable_json(text, ascii_only=encoding != "utf-8"), file=results())
