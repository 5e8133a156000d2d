"""Temporary folders and files, and what is said where the disk has no room for them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from edgeconv.errors import NO_ROOM, EdgeconvError, room_hint
from edgeconv.held import held, remove_unless_held

PREFIX = "edgeconv-"
_NAME = re.compile(re.escape(PREFIX) + "[a-z0-9_]{8}")  # as tempfile makes names
_LOCK, _FOLDER = "edgeconv.lock", "files"
_FULL_BYTES = 1 << 20  # a disk with less is full: whoever wrote may have asked for that much


class NoRoom(EdgeconvError):  # noqa: N818  # what was met, as in edgeconv.errors
    """The disk of the temporary files is full, or a limit of the account is reached."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder that is removed with all that is in it when the block ends.

    Those of killed processes are removed, too.

    Raises:
        NoRoom: No folder can be made, or the block failed for lack of room in it.
    """
    with needs_room(), _folder() as folder:
        try:
            yield folder
        except (OSError, EdgeconvError) as error:
            # An export into the folder says that another --out would help.
            met = error if isinstance(error, OSError) else error.__cause__
            if isinstance(met, OSError) and met.errno in NO_ROOM and _lies_in(met, folder):
                raise _no_room(met) from error
            raise


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder, and hold a file beside it as long as it is there."""
    _clear_remains(Path(tempfile.gettempdir()))
    while True:
        with tempfile.TemporaryDirectory(prefix=PREFIX) as name, held(Path(name, _LOCK)) as ours:
            if ours:
                folder = Path(name, _FOLDER)
                folder.mkdir()
                yield folder
                return


def _clear_remains(temporary: Path) -> None:
    """Remove the folders of killed processes of this user."""
    for item in temporary.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # it is another user's, or gone
            if _NAME.fullmatch(item.name) and _is_ours(item):
                remove_unless_held(item / _LOCK, partial(shutil.rmtree, item, ignore_errors=True))


def _is_ours(item: Path) -> bool:
    """Whether a folder is one of :func:`_folder`, and not some folder of that name."""
    found = item.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return False
    names = {each.name for each in item.iterdir()}
    return names in ({_LOCK}, {_LOCK, _FOLDER}) and (item / _LOCK).lstat().st_size == 0


@contextmanager
def needs_room() -> Iterator[None]:
    """Make one line of an error in making or filling temporary files.

    Raises:
        NoRoom: The error is that there is no place or no room for them.
    """
    try:
        yield
    except FileNotFoundError as error:
        if error.filename is None:  # tempfile found no folder that can be written to
            raise NoRoom(
                "there is no folder for temporary files that can be written to",
                hint="set TMPDIR to one",
            ) from error
        raise
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None and _is_full(error):
            raise _no_room(error) from error
        raise


def temporary_file() -> BinaryIO:
    """A file without a name, which ends with the process or when it is closed.

    Raises:
        NoRoom: None can be made.
    """
    with needs_room():
        return cast(BinaryIO, tempfile.TemporaryFile())


def _lies_in(error: OSError, folder: Path) -> bool:
    """Whether the file of an error lies there, or may be one that the error does not name."""
    named = error.filename2 or error.filename
    if named is None:
        return _is_full(error)
    return isinstance(named, (str, bytes)) and Path(os.fsdecode(named)).is_relative_to(folder)


def _is_full(error: OSError) -> bool:
    """Whether it can have been the disk of temporary files that lacked room."""
    if error.errno != errno.ENOSPC:  # limits of the account, of which no disk knows
        return True
    found = os.statvfs(tempfile.gettempdir())
    return found.f_bavail * found.f_frsize < _FULL_BYTES or found.f_favail == 0


def _no_room(error: OSError) -> NoRoom:
    return NoRoom(
        f"the folder for temporary files, {tempfile.gettempdir()}, has no room: {error.strerror}",
        hint=room_hint(error, "set TMPDIR to another folder"),
    )
