"""Where a model runs. A device takes files and measures one model in one process."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from edgeconv.device.facts import DeviceFacts
from edgeconv.device.local import LocalDevice
from edgeconv.device.locking import Lock
from edgeconv.device.messages import Event, RunRequest, Runtime
from edgeconv.device.names import FORMS, address_of
from edgeconv.device.ssh import SshDevice
from edgeconv.errors import UsageError

__all__ = ["Device", "DeviceFacts", "Event", "Lock", "RunRequest", "Runtime", "open_device"]


class Device(Protocol):
    """A machine that can run the runner."""

    @property
    def name(self) -> str:
        """The device's name, as the user writes it."""

    def place(self, file: Path) -> str:
        """Make a file available and return its path on the device."""

    def remove(self, files: Sequence[Path]) -> None:
        """Remove the copies of ``files``, which are still here.

        A device that cannot be reached keeps them, with a warning.
        """

    def probe(self) -> DeviceFacts:
        """Return what the device is.

        Raises:
            MeasurementError: It does not answer.
        """

    def lock(self, lease_seconds: int) -> AbstractContextManager[Lock]:
        """Keep other harnesses off it; renew at least once in ``lease_seconds``.

        Raises:
            MeasurementError: Another one is measuring there, or it does not answer.
        """

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        """Measure in a process of its own; close the generator early to end the process.

        Raises:
            MeasurementError: The model could not be measured; the message says why.
        """


def open_device(name: str) -> Device:
    """Return the device of that name; an emulated board is started unless it is up.

    Args:
        name: ``local``, ``local:PYTHON``, ``ssh://[user@]host[:port][/PYTHON]``,
            ``emulated:BOARD``, or a name in ``devices.toml``.

    Raises:
        UsageError: There is no such device.
    """
    name = address_of(name)
    if name == "local" or name.startswith("local:"):
        return LocalDevice.parse(name)
    if name.startswith("ssh:"):
        return SshDevice.parse(name)
    if name.startswith("emulated:"):
        from edgeconv.device.emulated import EmulatedDevice

        return EmulatedDevice.parse(name)
    raise UsageError(f"no device {name!r}", hint=f"use {FORMS}")
