"""This machine as a device, under this Python or another one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgeconv.device.archive import runner_archive
from edgeconv.device.events import events_of, last_words, nothing_special
from edgeconv.device.facts import DeviceFacts, parse_facts
from edgeconv.device.locking import Lock, held
from edgeconv.device.messages import Event, RunRequest
from edgeconv.device.process import LineProcess
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.limits import DEVICE_BYTES
from edgeconv.runner import LOCK, PROBE
from edgeconv.user_folders import stated_path

PROBE_SECONDS = 60.0
GRACE_SECONDS = 30.0  # the runner's own deadline comes first and says more


@dataclass(frozen=True)
class LocalDevice:
    """This machine. Processes are isolated (-I) from the user's modules and settings.

    Attributes:
        name: The name, as the user writes it.
        python: The Python that runs the runner.
    """

    name: str = "local"
    python: Path = Path(sys.executable)

    @classmethod
    def parse(cls, name: str) -> LocalDevice:
        """Read ``local`` or ``local:PYTHON``, where PYTHON is a path or a command in PATH.

        Raises:
            UsageError: There is no such executable.
        """
        _, _, python = name.partition(":")
        if not python:
            return cls()
        # Not stated_path(): without a folder it is looked for in PATH, and ./python has one.
        found = shutil.which(str(stated_path(python)) if python.startswith("~") else python)
        if found is None:
            raise UsageError(f"device {name}: {python} is not an executable", hint="name a Python")
        # Not resolved: a virtual environment's Python is a link that must stay one.
        return cls(name, Path(found).absolute())

    def place(self, file: Path) -> str:
        """Return the path under which the runner finds a file."""
        return os.fspath(file.absolute())

    def remove(self, files: Sequence[Path]) -> None:
        """Do nothing: nothing was copied."""

    def probe(self) -> DeviceFacts:
        """Return what this machine is, and which Pythons it has.

        Raises:
            MeasurementError: The probe failed.
        """
        command = (os.fspath(self.python), "-I", os.fspath(PROBE))
        try:
            with LineProcess(command, b"", seconds=PROBE_SECONDS) as process:
                answer = b"\n".join(process)
                if process.returncode != 0:
                    raise MeasurementError(
                        f"{self.name}: the probe ended with status {process.returncode}"
                        f"{last_words(process.stderr)}"
                    )
        except OSError as error:
            raise MeasurementError(
                f"{self.python} cannot be run: {error.strerror}",
                hint="name a Python with local:PYTHON",
            ) from error
        return parse_facts(answer.decode("utf-8", "replace"), self.name)

    @contextmanager
    def lock(self, lease_seconds: int) -> Iterator[Lock]:
        """Keep other harnesses off this machine.

        Raises:
            MeasurementError: Another one is measuring here.
        """
        command = (sys.executable, "-I", os.fspath(LOCK), str(lease_seconds))
        with held(partial(LineProcess, command), self.name, nothing_special) as lock:
            yield lock

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        """Yield the events of one process that measures one model.

        Raises:
            MeasurementError: It could not be measured.
        """
        line = request.model_dump_json().encode() + b"\n"
        seconds = request.deadline_seconds + GRACE_SECONDS
        with runner_archive() as runner:
            command = (os.fspath(self.python), "-I", os.fspath(runner))
            try:
                with LineProcess(command, line, seconds=seconds, limit=DEVICE_BYTES) as process:
                    yield from events_of(process, self.name)
            except OSError as error:
                raise MeasurementError(
                    f"{self.python} cannot be run: {error.strerror}",
                    hint="name a Python with local:PYTHON",
                ) from error
