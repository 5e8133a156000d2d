"""A device measures for one harness at a time: two at once would time each other."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Protocol

from edgeconv.device.events import Explain, Explanation, last_words
from edgeconv.device.process import LineProcess
from edgeconv.errors import BusyDevice, MeasurementError
from edgeconv.printable import printable

ANSWER_SECONDS = 60.0
END_SECONDS = 5.0


class Lock(Protocol):
    """Keeps a device to this process."""

    def renew(self) -> None:
        """Extend the lease.

        Raises:
            MeasurementError: The lock is gone, and with it the connection.
        """


class HeldLock:
    """A process on the device that holds the lock as long as it lives."""

    def __init__(self, process: LineProcess, device: str, explain: Explain) -> None:
        self._process = process
        self._device = device
        self._explain = explain

    def renew(self) -> None:
        """Extend the lease, as :class:`Lock` says."""
        if not self._process.send(b"\n"):
            raise _lost(self._process, self._device, self._explain)


@contextmanager
def held(start: Callable[..., LineProcess], device: str, explain: Explain) -> Iterator[Lock]:
    """Hold a device's lock by a command that runs ``edgeconv/runner/lock.py`` there.

    Args:
        start: Makes the process of the holder from the line that it gets and ``seconds``.
        device: Its name, for messages.
        explain: Says what an exit status and the standard error mean on this kind of device.

    Raises:
        MeasurementError: Another harness has the device, or it does not answer.
    """
    line = f"{_who()}\n".encode("utf-8", "replace")
    with start(line, seconds=ANSWER_SECONDS) as process:
        word, _, owner = next(iter(process), b"").decode("utf-8", "replace").partition(" ")
        if word == "busy":
            by = f"another edgeconv ({printable(owner)[:300]})" if owner else "another edgeconv"
            raise BusyDevice(f"{device}: {by} is measuring there", hint="wait until it has ended")
        if word == "refused":
            raise MeasurementError(
                f"{device}: its lock cannot be taken: {printable(owner)[:300]}",
                hint="remove that file as its owner or as root, or name another one by "
                "EDGECONV_LOCK in the environment there",
            )
        if word != "locked":
            raise _lost(process, device, explain)
        yield HeldLock(process, device, explain)
        process.end(END_SECONDS)


def _who() -> str:
    """The account, the host and the process that lock, and since when."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as containers have
        account = str(os.getuid())
    since = datetime.now(timezone.utc)
    return (
        f"{account}@{socket.gethostname()}, process {os.getpid()}, since {since:%Y-%m-%d %H:%M} UTC"
    )


def _lost(process: LineProcess, device: str, explain: Explain) -> MeasurementError:
    process.end(END_SECONDS)
    lost = Explanation(f"its lock was lost{last_words(process.stderr)}")
    return (explain(process.returncode, process.stderr) or lost).error(device)
