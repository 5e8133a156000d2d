"""A machine behind SSH. Nothing of ours is installed there: files are sent, the runner is fed.

The system's OpenSSH client does the work, so the user's configuration, keys, jump hosts and known
hosts count. It never asks (BatchMode): an unknown host key or a missing key is an error that says
what to do. Files lie under ``.cache/edgeconv`` in the remote home, named by their SHA-256, which
is all that a remote shell ever sees of them.
"""

from __future__ import annotations

import logging
import re
import secrets
import shlex
import subprocess
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeconv.bundle import sha256_of
from edgeconv.device.archive import runner_archive
from edgeconv.device.events import events_of, last_words
from edgeconv.device.facts import DeviceFacts, parse_facts
from edgeconv.device.locking import Lock, held
from edgeconv.device.messages import Event, RunRequest
from edgeconv.device.process import LineProcess
from edgeconv.errors import MeasurementError, UsageError
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
SECONDS = 60.0  # for a command that only looks
PUSH_SECONDS = 900.0
GRACE_SECONDS = 60  # the runner's own deadline comes first and says more

# What OpenSSH says, and what to do about it. The first that matches counts.
ADVICE = (
    (
        "IDENTIFICATION HAS CHANGED",
        "its host key has changed; if that is right, `ssh-keygen -R` it",
    ),
    ("Host key verification failed", "its host key is unknown; connect once with ssh and check it"),
    ("Permission denied", "the login was refused; set up a key with ssh-copy-id"),
    ("Too many authentication failures", "the login was refused; name the right key for it"),
    ("Could not resolve hostname", "its name cannot be resolved; check it or use an address"),
    ("Connection refused", "nothing listens there; start its SSH server or check the port"),
    ("timed out", "it does not answer; check that it is on and reachable"),
    ("No route to host", "it cannot be reached; check the network"),
    ("Network is unreachable", "it cannot be reached; check the network"),
)


@dataclass(frozen=True)
class SshDevice:
    """``ssh://[user@]host[:port][/path/to/python]``; the Python is ``python3`` unless named."""

    name: str
    host: str
    user: str | None = None
    port: int | None = None
    python: str = "python3"
    _placed: set[str] = field(init=False, default_factory=set, compare=False, repr=False)

    @classmethod
    def parse(cls, name: str) -> SshDevice:
        """Raises UsageError if the address is none."""
        match = ADDRESS.fullmatch(name)
        if match is None or int(match["port"] or 22) > 65535:
            raise UsageError(f"device {name}: write ssh://[user@]host[:port][/path/to/python]")
        return cls(
            name=name,
            host=match["host"].strip("[]"),
            user=match["user"],
            port=int(match["port"]) if match["port"] else None,
            python=match["python"] or "python3",
        )

    def under(self, python: str) -> SshDevice:
        """The same device under another Python."""
        name = self.name.removesuffix(self.python) if self.python.startswith("/") else self.name
        return replace(self, name=f"{name}{python}", python=python)

    def place(self, file: Path) -> str:
        """Send a file unless it is there, and return its path relative to the remote home. It is
        looked for once a session.

        Raises:
            MeasurementError: it could not be sent, or did not arrive whole.
        """
        digest = sha256_of(file)
        remote = _remote_path(digest, file)
        if remote in self._placed:
            return remote
        there = self.shell(f"mkdir -p {FOLDER} && sha256sum {remote} 2>/dev/null || true")
        if there.startswith(digest):
            self._placed.add(remote)
            return remote
        part = f"{remote}.{secrets.token_hex(4)}.part"
        send = f"cat > {part} && sha256sum {part} && mv {part} {remote}"
        if not self.shell(f"{send} || {{ rm -f {part}; exit 1; }}", file).startswith(digest):
            self.shell(f"rm -f {remote}")
            raise MeasurementError(f"{self.name}: {file} did not arrive whole; try again")
        self._placed.add(remote)
        return remote

    def remove(self, files: Sequence[Path]) -> None:
        """Remove what was sent of ``files``, which are still here. A device that cannot be reached
        keeps them, with a warning.
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
        """What the device is.

        Raises:
            MeasurementError: it cannot be reached, or has no Python 3.8.
        """
        return parse_facts(self.shell(f"{shlex.quote(self.python)} -I -", PROBE), self.name)

    @contextmanager
    def lock(self, lease_seconds: int) -> Iterator[Lock]:
        """Keep other harnesses of this account off the device; renew once in ``lease_seconds``.

        Raises:
            MeasurementError: another one is measuring there, or it does not answer.
        """
        holder = f"{shlex.quote(self.python)} -I {self.place(LOCK)}"
        # Not exec: see run().
        remote = f"{holder} {FOLDER}/lock {int(lease_seconds)}; exit $?"
        with held(self._command(remote), self.name, self._why) as lock:
            yield lock

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        """Yield the events of one process that measures one model.

        The remote process ends with the connection: the runner leaves when its input ends, and
        ``timeout`` ends one that hangs.

        Raises:
            MeasurementError: it could not be measured.
        """
        limit = request.deadline_seconds + GRACE_SECONDS
        with runner_archive() as archive:
            runner = self.place(archive)
        # Not exec: the shell tells by its status which signal ended the runner.
        remote = f"timeout -k 5 {limit} {self._python(request)} -I {runner}; exit $?"
        line = request.model_dump_json().encode() + b"\n"
        with LineProcess(self._command(remote), line, seconds=limit + GRACE_SECONDS) as process:
            yield from events_of(process, self.name, self._why)

    def shell(self, remote: str, file: Path | None = None) -> str:
        """The output of a remote command that reads ``file``, if any, on its standard input.

        Raises:
            MeasurementError: it failed, or the device cannot be reached.
        """
        try:
            with (file or Path("/dev/null")).open("rb") as source:
                done = subprocess.run(
                    self._command(remote),
                    stdin=source,
                    capture_output=True,
                    timeout=PUSH_SECONDS if file else SECONDS,
                    check=False,
                )
        except FileNotFoundError as error:
            raise MeasurementError(
                f"{self.name}: {error.filename} is missing on this machine"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise MeasurementError(
                f"{self.name} did not answer in {error.timeout:.0f} s"
            ) from error
        if done.returncode != 0:
            stderr = done.stderr.decode("utf-8", "replace")
            why = (
                self._why(done.returncode, stderr) or f"a command failed there{last_words(stderr)}"
            )
            raise MeasurementError(f"{self.name}: {why}")
        return done.stdout.decode("utf-8", "replace")

    def _python(self, request: RunRequest) -> str:
        """How a remote shell starts the Python that runs the runner."""
        return shlex.quote(self.python)

    def _command(self, remote: str) -> tuple[str, ...]:
        port = ("-p", str(self.port)) if self.port else ()
        user = ("-l", self.user) if self.user else ()
        return ("ssh", *OPTIONS, *port, *user, "--", self.host, remote)

    def _why(self, status: int, stderr: str) -> str | None:
        """What a status of ssh means in words; None where it says nothing special."""
        if status == CONNECTION_FAILED:
            for sign, advice in ADVICE:
                if sign in stderr:
                    return advice
            return f"the connection failed or broke{last_words(stderr)}"
        if "No space left on device" in stderr:
            return "its disk is full; free some space there"
        if status in NOT_FOUND:
            return (
                f"there is no {self.python} there{last_words(stderr)}; install Python 3.8 or newer "
                "and NumPy, or name another Python"
            )
        if status == OUT_OF_TIME:
            return "the runner hung and was ended"
        return None


def _remote_path(digest: str, file: Path) -> str:
    """Where a file lies in the remote home."""
    return f"{FOLDER}/{digest}{file.suffix}"
