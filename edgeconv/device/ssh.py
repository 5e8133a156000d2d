"""A machine behind SSH. Nothing of ours is installed there: files are sent, the runner is fed.

The system's OpenSSH client does the work, so the user's configuration, keys, jump hosts and known
hosts count. It never asks (BatchMode): an unknown host key or a missing key is an error with a
hint. Files lie under ``.cache/edgeconv`` in the remote home, named by their SHA-256, which
is all that a remote shell ever sees of them.
"""

from __future__ import annotations

import logging
import re
import secrets
import shlex
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgeconv.bundle import sha256_of
from edgeconv.device.archive import runner_archive
from edgeconv.device.events import Explanation, events_of, last_words
from edgeconv.device.facts import DeviceFacts, parse_facts
from edgeconv.device.locking import Lock, held
from edgeconv.device.messages import Event, RunRequest
from edgeconv.device.process import LineProcess
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.limits import DEVICE_BYTES
from edgeconv.runner import LOCK, PROBE

logger = logging.getLogger(__name__)

FOLDER = ".cache/edgeconv"
OPTIONS = (
    *("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
    # A peer that vanished is noticed after half a minute.
    *("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"),
)
ADDRESS = re.compile(
    r"ssh://(?:(?P<user>[\w][\w.+-]*)@)?(?P<host>\[[0-9a-fA-F:]+\]|[\w][\w.-]*)"
    r"(?::(?P<port>\d{1,5}))?(?P<python>/.+)?"
)
CONNECTION_FAILED = 255
OUT_OF_TIME = 124
NOT_FOUND = (126, 127)
# The line after which a command's output begins: login shells print what they like before it.
BEGIN = "edgeconv begins"
SECONDS = 60.0  # for a command that only looks
PUSH_SECONDS = 900.0
GRACE_SECONDS = 60  # the runner's own deadline comes first and says more

NETWORK = Explanation("it cannot be reached", "check the network", lost=True)
# What OpenSSH says, and what it means. The first that matches counts.
EXPLANATIONS = {
    "IDENTIFICATION HAS CHANGED": Explanation(
        "its host key has changed", "if that is right, remove the old one with `ssh-keygen -R`"
    ),
    "Host key verification failed": Explanation(
        "its host key is unknown", "connect once with ssh and check it"
    ),
    "Permission denied": Explanation("the login was refused", "set up a key with ssh-copy-id"),
    "No user exists for uid": Explanation(
        "OpenSSH does not run as a user without a name",
        "in a container, mount the host's /etc/passwd: -v /etc/passwd:/etc/passwd:ro",
    ),
    "Too many authentication failures": Explanation(
        "the login was refused", "name the right key for it in ~/.ssh/config"
    ),
    "Could not resolve hostname": Explanation(
        "its name cannot be resolved", "check it or use an address"
    ),
    "Connection refused": Explanation(
        "nothing listens there", "start its SSH server or check the port", lost=True
    ),
    "timed out": Explanation("it does not answer", "check that it is on and reachable", lost=True),
    "No route to host": NETWORK,
    "Network is unreachable": NETWORK,
}


@dataclass(frozen=True)
class SshDevice:
    """A device behind SSH.

    Attributes:
        name: The name, as the user writes it.
        host: The host, as the user's SSH configuration knows it.
        user: The login; None where the configuration has it.
        port: The port; None where the configuration has it.
        python: The Python that runs the runner.
    """

    name: str
    host: str
    user: str | None = None
    port: int | None = None
    python: str = "python3"
    _placed: set[str] = field(init=False, default_factory=set, compare=False, repr=False)

    @classmethod
    def parse(cls, name: str) -> SshDevice:
        """Read ``ssh://[user@]host[:port][/path/to/python]``; the Python is ``python3`` by default.

        Raises:
            UsageError: It is not such an address.
        """
        match = ADDRESS.fullmatch(name)
        if match is None or int(match["port"] or 22) > 65535:
            raise UsageError(
                f"device {name} is not an address",
                hint="write ssh://[user@]host[:port][/path/to/python]",
            )
        return cls(
            name=name,
            host=match["host"].strip("[]"),
            user=match["user"],
            port=int(match["port"]) if match["port"] else None,
            python=match["python"] or "python3",
        )

    def under(self, python: str) -> SshDevice:
        """Return the same device under another Python."""
        name = self.name.removesuffix(self.python) if self.python.startswith("/") else self.name
        return replace(self, name=f"{name}{python}", python=python)

    def place(self, file: Path) -> str:
        """Send a file unless it is there, and return its path relative to the remote home.

        The device is asked once per file.

        Raises:
            MeasurementError: It could not be sent, or did not arrive whole.
        """
        digest = sha256_of(file)
        remote = _remote_path(digest, file)
        if remote in self._placed:
            return remote
        # Parts of transfers that were cut a day ago and more.
        clear = f'find {FOLDER} -name "*.part" -mtime +0 -exec rm -f {{}} + 2>/dev/null'
        look = f"{{ {clear}; sha256sum {remote} 2>/dev/null || true; }}"
        there = self.shell(f"mkdir -p {FOLDER} && {look}")
        if there.startswith(digest):
            self._placed.add(remote)
            return remote
        part = f"{remote}.{secrets.token_hex(4)}.part"
        # In the language that this file knows the full disk in. A connection that breaks looks like
        # the end of the file: only the whole one gets its name.
        take = f'case "$sum" in {digest}*) mv {part} {remote};; *) rm -f {part};; esac'
        send = f'LC_ALL=C cat > {part} && sum=$(sha256sum {part}) && echo "$sum" && {take}'
        if not self.shell(f"{send} || {{ rm -f {part}; exit 1; }}", file).startswith(digest):
            raise MeasurementError(f"{self.name}: {file} did not arrive whole", hint="try again")
        self._placed.add(remote)
        return remote

    def remove(self, files: Sequence[Path]) -> None:
        """Remove the copies of ``files``, which are still here.

        A device that cannot be reached keeps them, with a warning.
        """
        if not files:
            return
        sent = {_remote_path(sha256_of(file), file) for file in files}
        names = " ".join(sorted(path.removeprefix(f"{FOLDER}/") for path in sent))
        try:
            self.shell(f"cd {FOLDER} && rm -f {names}")
        except MeasurementError as error:
            logger.warning("temporary files stay in %s of the device: %s", FOLDER, error)
        self._placed.difference_update(sent)

    def probe(self) -> DeviceFacts:
        """Return what the device is.

        Raises:
            MeasurementError: It cannot be reached, or has no Python 3.8.
        """
        return parse_facts(self.shell(f"{shlex.quote(self.python)} -I -", PROBE), self.name)

    @contextmanager
    def lock(self, lease_seconds: int) -> Iterator[Lock]:
        """Keep other harnesses off the device; renew once in ``lease_seconds``.

        Raises:
            MeasurementError: Another one is measuring there, or it does not answer.
        """
        holder = f"{shlex.quote(self.python)} -I {self.place(LOCK)}"
        # Not exec: see run().
        remote = f"{holder} {int(lease_seconds)}; exit $?"
        with held(partial(self._process, remote), self.name, self._why) as lock:
            yield lock

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        """Yield the events of one process that measures one model.

        The remote process ends with the connection: the runner leaves when its input ends, and
        ``timeout`` ends one that hangs.

        Raises:
            MeasurementError: It could not be measured.
        """
        limit = request.deadline_seconds + GRACE_SECONDS
        with runner_archive() as archive:
            runner = self.place(archive)
        # Not exec: the shell's status says which signal ended the runner.
        remote = f"timeout -k 5 {limit} {self._python(request)} -I {runner}; exit $?"
        line = request.model_dump_json().encode() + b"\n"
        seconds = limit + GRACE_SECONDS
        with self._process(remote, line, seconds=seconds, limit=DEVICE_BYTES) as process:
            yield from events_of(process, self.name, self._why)

    def shell(self, remote: str, file: Path | None = None) -> str:
        """Return the output of a remote command that reads ``file``, if any, on standard input.

        Raises:
            MeasurementError: It failed, or the device cannot be reached.
        """
        seconds = PUSH_SECONDS if file else SECONDS
        with (file or Path("/dev/null")).open("rb") as source:
            process = self._process(remote, seconds=seconds, source=source)
            try:
                with process:
                    answer = b"\n".join(process)
            except FileNotFoundError as error:
                raise MeasurementError(
                    f"{self.name}: {error.filename} is missing on this machine",
                    hint="install it: it is part of OpenSSH",
                ) from error
        status, stderr = process.returncode, process.stderr
        if status != 0:
            failed = Explanation(f"a command failed there{last_words(stderr)}")
            raise (self._why(status, stderr) or failed).error(self.name)
        return answer.decode("utf-8", "replace")

    def _process(self, remote: str, first_line: bytes = b"", **options: Any) -> LineProcess:
        """Run a remote command under ``sh``, whatever the login shell is and prints.

        Only the quotes of POSIX shells, fish and csh are alike, so that is all the login shell
        gets to read.
        """
        command = self._command(f"sh -c {shlex.quote(f'echo; echo {BEGIN}; {remote}')}")
        return LineProcess(command, first_line, after=BEGIN.encode(), **options)

    def _python(self, request: RunRequest) -> str:
        """Return the words by which a remote shell starts the Python that runs the runner."""
        return shlex.quote(self.python)

    def _command(self, remote: str) -> tuple[str, ...]:
        port = ("-p", str(self.port)) if self.port else ()
        user = ("-l", self.user) if self.user else ()
        return ("ssh", *OPTIONS, *port, *user, "--", self.host, remote)

    def _why(self, status: int, stderr: str) -> Explanation | None:
        """Explain a status of ssh; None where it says nothing special."""
        if status == CONNECTION_FAILED:
            for sign, explanation in EXPLANATIONS.items():
                if sign in stderr:
                    return explanation
            return Explanation(f"the connection failed or broke{last_words(stderr)}", lost=True)
        if "No space left on device" in stderr:
            return Explanation("its disk is full", "free some space there")
        if status in NOT_FOUND:
            return Explanation(
                f"there is no {self.python} there{last_words(stderr)}",
                "install Python 3.8 or newer and NumPy, or name another Python",
            )
        if status == OUT_OF_TIME:
            return Explanation("the runner hung and was ended")
        return None


def _remote_path(digest: str, file: Path) -> str:
    """Return where a file lies in the remote home."""
    return f"{FOLDER}/{digest}{file.suffix}"
