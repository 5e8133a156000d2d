"""Keep a device to one harness: hold a lock on a file for as long as the host wants it.

Runs on the device as it is: Python 3.8 or newer and the standard library. Argument: the seconds
after which a host that says nothing is taken for dead. The first line of standard input names the
host; every further line says that the host lives. Answers "locked", "busy" and who has it, or
"refused" and why. The lock is the kernel's (flock): it ends with this process, however that ends,
and with the device's power, so none is ever left behind.

The file is one for all accounts of the device, in a folder where everyone may create files. So it
is opened as what a stranger may have put there: no link is followed, nothing but a regular file
with one name is written to, and nothing waits.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import sys
import time

FILE = os.environ.get("EDGECONV_LOCK") or "/tmp/edgeconv.lock"
SAFELY = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
TRIES, PAUSE = 30, 0.1  # a holder whose connection was just cut needs a moment to notice


def main() -> None:
    """Hold the lock until the host says nothing for the seconds of the lease."""
    lease = float(sys.argv[1])
    owner = os.read(0, 1024).partition(b"\n")[0][:300]
    os.umask(0)  # the other accounts must be able to open a file that this one creates
    try:
        file = lock()
    except BlockingIOError as error:
        answer("busy", error.args[1])
        return
    except OSError as error:
        answer("refused", f"{FILE}: {error.strerror}")
        return
    with contextlib.suppress(OSError):  # a full disk must not keep a host from measuring
        os.ftruncate(file, 0)
        os.write(file, owner)
    answer("locked", "")
    while select.select([0], [], [], lease)[0] and os.read(0, 1024):
        pass


def lock() -> int:
    """Open the file and take the lock.

    Raises:
        BlockingIOError: Another process has it; the second argument is what that one wrote.
        OSError: The file cannot be used.
    """
    holder = ""
    for _ in range(TRIES):
        with contextlib.suppress(FileNotFoundError, FileExistsError):  # others create and remove
            file = open_file()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file), os.lstat(FILE)):
                    return file
            except BlockingIOError:
                holder = os.read(file, 300).decode("utf-8", "replace")
            os.close(file)
        time.sleep(PAUSE)
    raise BlockingIOError(errno.EWOULDBLOCK, holder)


def open_file() -> int:
    """Open the file, and create it where there is none.

    O_CREAT comes second and with O_EXCL: Linux forbids it on a stranger's file in a folder such as
    /tmp (fs.protected_regular).

    Raises:
        FileExistsError, FileNotFoundError: Another process was faster; try again.
        OSError: What is there is not such a file, or is closed to this account.
    """
    try:
        file = os.open(FILE, SAFELY)
    except FileNotFoundError:
        file = os.open(FILE, SAFELY | os.O_CREAT | os.O_EXCL, 0o666)
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(file)
        raise OSError(errno.EINVAL, "Not a regular file with one name")
    return file


def answer(word: str, who: str) -> None:
    """Write the answer, one line."""
    print(word, " ".join(who.split()), flush=True)  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    main()
