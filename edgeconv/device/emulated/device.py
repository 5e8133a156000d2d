"""An emulated board as a device: reached over SSH like any other, asked for counts, not times."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from edgeconv.device.emulated.boards import BOARDS, Board, board_named
from edgeconv.device.emulated.server import HOST, Server
from edgeconv.device.emulated.userland import environment, environments
from edgeconv.device.events import Explanation
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
    """A board that counts instructions; its times say nothing about a real one.

    Attributes:
        board: The board that is emulated.
        config: The SSH client's configuration for it.
    """

    board: Board = BOARDS["pi4"]
    config: Path = Path()

    @classmethod
    def parse(cls, name: str) -> EmulatedDevice:
        """Read ``emulated:BOARD`` or ``BOARD``, and start the board unless it is up.

        The first time, its userland is made.

        Raises:
            UsageError: There is no such board, or packages of this machine are missing.
            EdgeconvError: It does not start.
        """
        board = board_named(name.removeprefix(PREFIX))
        name = f"{PREFIX}{board.name}"
        server = Server(board)
        server.up()
        python = environment(board.architecture, None)
        return cls(name, HOST, python=python, board=board, config=server.client_config)

    def under(self, python: str) -> EmulatedDevice:
        """Return the same board under another Python, to probe it; a runtime chooses its own."""
        return replace(self, python=python)

    def probe(self) -> DeviceFacts:
        """Return what the board is, with the Pythons of all its runtimes.

        Raises:
            MeasurementError: It was taken down.
        """
        others = (path for path in environments(self.board.architecture) if path != self.python)
        answer = self.shell(shlex.join((self.python, "-I", "-", *others)), PROBE)
        return parse_facts(answer, self.name)

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        """Yield the events of one process that counts instructions.

        Raises:
            UsageError: More than one thread is asked; counts of several are not repeatable.
            MeasurementError: It could not be counted.
        """
        if request.threads != 1:
            raise UsageError(
                f"{self.name} counts instructions on one thread", hint="leave --threads out"
            )
        yield from super().run(request.model_copy(update={"counts": COUNTS}))

    def _python(self, request: RunRequest) -> str:
        """Start Python under the QEMU that loads the plugin; other programs run under another."""
        python = environment(self.board.architecture, request.runtime)
        return f"{QEMU} -plugin {COUNTER},out={COUNTS} {python}"

    def _command(self, remote: str) -> tuple[str, ...]:
        return ("ssh", "-F", str(self.config), *OPTIONS, "--", HOST, remote)

    def _why(self, status: int, stderr: str) -> Explanation | None:
        if status == CONNECTION_FAILED and "Connection refused" in stderr:
            return Explanation(
                "it is not up", f"start it with `edgeconv devices up {self.board.name}`"
            )
        return super()._why(status, stderr)
