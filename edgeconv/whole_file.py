"""Files that are written whole or not at all: all that a user names for a command to write."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeconv.errors import UsageError, room_hint
from edgeconv.held import held, remove_unless_held

_PART = re.compile(r"\.edgeconv\.[0-9a-f]{8}\.part(\.[^.]*)?")
_LONGEST_SUFFIX = 16  # the name of a part is not longer than names can be


def write_whole(path: Path, content: str | bytes) -> None:
    """Write the content of a file, text as UTF-8, as :func:`whole_file` does.

    Raises:
        UsageError: The file cannot be written.
    """
    with whole_file(path) as part:
        part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield the path of a file to write; on success it takes the place of ``path``.

    A part has another name in the same folder, with the same end. Parts that killed processes left
    there are removed. A symbolic link stays, and what it points to is replaced. What is no file,
    such as /dev/null or a pipe, is written to.

    Raises:
        UsageError: The file cannot be written.
    """
    try:
        with _written(path) as part:
            yield part
    except BrokenPipeError:  # the reader of a pipe left, as that of standard output may
        raise
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}",
            hint=room_hint(error, "name another file"),
        ) from error


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    if path.exists() and not path.is_file():
        yield path  # not resolved: /dev/stdout leads to a name that no file has if it is a pipe
        return
    target = path.resolve()
    _clear_remains(target.parent)
    with _part(target) as part:
        try:
            yield part
            if target.exists():
                shutil.copymode(target, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _part(target: Path) -> Iterator[Path]:
    """Make a part with the end of the target's name, and hold it."""
    suffix = target.suffix if len(target.suffix) <= _LONGEST_SUFFIX else ""
    while True:
        part = target.with_name(f".edgeconv.{secrets.token_hex(4)}.part{suffix}")
        with held(part) as ours:
            if ours:
                yield part
                return


def _clear_remains(folder: Path) -> None:
    """Remove what killed processes left of files that they wrote there."""
    for part in folder.glob(".edgeconv.*.part*"):
        if _PART.fullmatch(part.name):
            remove_unless_held(part, part.unlink)
