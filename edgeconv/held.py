"""Files that a process holds by a lock, so that what a killed one left is known from the rest.

The system releases the lock (flock) when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

# Of file systems without locks: some network ones, and those mounted with nolock.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class Lock(Enum):
    """What came of asking for a lock."""

    OURS = "this process holds it"
    TAKEN = "another process holds it"
    UNKNOWN = "the file system has no locks"


def lock_now(descriptor: int) -> Lock:
    """Lock an open file without waiting.

    Raises:
        OSError: Another reason than that there are no locks keeps it from being locked.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return Lock.UNKNOWN
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return Lock.TAKEN
        raise
    return Lock.OURS


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Make an empty file and hold it; False where another process removes it as a remains.

    Where the file system has no locks, nothing on it is taken for a remains.

    Raises:
        OSError: The file is there already, or cannot be made.
    """
    with path.open("xb") as file:
        yield lock_now(file.fileno()) is not Lock.TAKEN and path.exists()


def remove_unless_held(path: Path, remove: Callable[[], object]) -> None:
    """Remove what a process held by ``path``, if that process has ended.

    What cannot be opened, is no file, or lies where there are no locks stays.
    """
    with contextlib.suppress(OSError):
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if stat.S_ISREG(os.fstat(opened).st_mode) and lock_now(opened) is Lock.OURS:
                remove()
        finally:
            os.close(opened)
