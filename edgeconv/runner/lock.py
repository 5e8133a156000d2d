"""Keep a device to one harness: hold a lock on a file for as long as the host wants it.

Runs on the device as it is: Python 3.8 or newer and the standard library. Arguments: the file, and
the seconds after which a host that says nothing is taken for dead. The first line of standard
input names the host; every further line says that the host lives. Answers "locked", or
"busy" and who has it. The lock is the kernel's (flock): it ends with this process, however that
ends, and with the device's power, so none is ever left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import sys
import time

TRIES, PAUSE = 30, 0.1  # a holder whose connection was just cut needs a moment to notice


def main() -> None:
    """Hold the lock until the host says nothing for the seconds of the lease."""
    path, lease = sys.argv[1], float(sys.argv[2])
    owner = os.read(0, 1024).partition(b"\n")[0][:300]
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if not lock(file):
        answer("busy", os.read(file, 300).decode("utf-8", "replace"))
        return
    with contextlib.suppress(OSError):  # a full disk must not keep a host from measuring
        os.ftruncate(file, 0)
        os.write(file, owner)
    answer("locked", "")
    while select.select([0], [], [], lease)[0] and os.read(0, 1024):
        pass


def lock(file: int) -> bool:
    """Take the lock; return False if another process has it."""
    for _ in range(TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(PAUSE)
    return False


def answer(word: str, who: str) -> None:
    """Write the answer, one line."""
    print(word, " ".join(who.split()), flush=True)  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    main()
