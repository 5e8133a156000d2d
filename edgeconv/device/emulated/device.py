"""An emulated board as a device: reached over SSH like any other, asked for counts, not times."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from edgeconv.device.emulated.boards import BOARDS, Board, board_named
from edgeconv.device.emulated.server import HOST, Server
from edgeconv.device.emulated.userland import environment, environments
from edgeconv.device.facts import DeviceFacts, parse_facts
from edgeconv.device.messages import Event, RunRequest
from edgeconv.device.ssh import CONNECTION_FAILED, OPTIONS, SshDevice
from edgeconv.errors import UsageError
from edgeconv.runner import PROBE

PREFIX = "emulated:"
# Paths of the board. A session's /tmp is its own and goes with it.
QEMU, COUNTER, COUNTS = "/opt/emulator/qemu", "/opt/emulator/counter.so", "/tmp/counts"


@dataclass(frozen=True)
class EmulatedDevice(SshDevice):
    """``emulated:BOARD``. It counts instructions; its times say nothing about a real board."""

    board: Board = BOARDS["pi4"]
    config: Path = Path()

    @classmethod
    def parse(cls, name: str) -> EmulatedDevice:
        """Also starts the board unless it is up, and makes its userland the first time.

        Raises:
            UsageError: no such board, or packages of this machine are missing.
            EdgeconvError: it does not start.
        """
        board = board_named(name.removeprefix(PREFIX))
        name = f"{PREFIX}{board.name}"
        server = Server(board)
        server.up()
        python = environment(board.architecture, None)
        return cls(name, HOST, python=python, board=board, config=server.client_config)

    def under(self, python: str) -> EmulatedDevice:
        """The board's runtimes choose its Python; this serves to look at another one."""
        return replace(self, python=python)

    def probe(self) -> DeviceFacts:
        """What the board is, with the Pythons of all its runtimes.

        Raises:
            MeasurementError: it was taken down.
        """
        others = (path for path in environments(self.board.architecture) if path != self.python)
        told = self.shell(shlex.join((self.python, "-I", "-", *others)), PROBE)
        return parse_facts(told, self.name)

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        """Yield the events of one process that counts instructions.

        Raises:
            UsageError: more than one thread is asked; counts of several are not repeatable.
            MeasurementError: it could not be counted.
        """
        if request.threads != 1:
            raise UsageError(f"{self.name} counts instructions on one thread; leave --threads out")
        yield from super().run(request.model_copy(update={"counts": COUNTS}))

    def _python(self, request: RunRequest) -> str:
        """Under the QEMU that loads the plugin; the board's own programs run under another."""
        python = environment(self.board.architecture, request.runtime)
        return f"{QEMU} -plugin {COUNTER},out={COUNTS} {python}"

    def _command(self, remote: str) -> tuple[str, ...]:
        return ("ssh", "-F", str(self.config), *OPTIONS, "--", HOST, remote)

    def _why(self, status: int, stderr: str) -> str | None:
        if status == CONNECTION_FAILED and "Connection refused" in stderr:
            return f"it is not up; start it with `edgeconv devices up {self.board.name}`"
        return super()._why(status, stderr)
