"""Files that a process holds by a lock, so that what a killed one left is known from the rest.

The system releases the lock (flock) when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Make an empty file and hold it; False where another process removes it as a remains.

    Where the file system has no locks, nothing on it is taken for a remains.

    Raises:
        OSError: The file is there already, or cannot be made.
    """
    with path.open("xb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass
        yield path.exists()


def remove_unless_held(path: Path, remove: Callable[[], object]) -> None:
    """Remove what a process held by ``path``, if that process has ended.

    What cannot be opened, is no file, or lies where there are no locks stays.
    """
    with contextlib.suppress(OSError):
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if stat.S_ISREG(os.fstat(opened).st_mode):
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove()
        finally:
            os.close(opened)
