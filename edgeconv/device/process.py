"""A child process read line by line that never outlives the block it was started in."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import IO

from edgeconv.errors import MeasurementError
from edgeconv.limits import ANSWER_BYTES, Limit

LINE_LIMIT = 4 << 20
STDERR_KEPT = 8 << 10
CHUNK = 1 << 16


class LineProcess:
    """Context manager: starts a command, sends it one line, iterates over its output's lines.

    Standard input stays open until the block is left. Leaving it kills the whole process group;
    the group is its own, so a terminal's Ctrl-C reaches only us and we decide. After the
    iteration ``returncode`` is set and ``stderr`` has the last bytes of standard error.

    Args:
        command: The command.
        first_line: What it gets on standard input.
        seconds: How long it may take.
        limit: How much it may send.
        after: The line after which its output begins; None is the beginning.
        source: A file that it gets on standard input instead, which then ends.

    Raises:
        OSError: The command cannot be started.
        MeasurementError: It did not end in ``seconds``, or sent a line of more than 4 MiB.
        LimitExceeded: It sent more than ``limit``.
    """

    def __init__(
        self,
        command: Sequence[str],
        first_line: bytes = b"",
        *,
        seconds: float,
        limit: Limit = ANSWER_BYTES,
        after: bytes | None = None,
        source: IO[bytes] | None = None,
    ) -> None:
        self._command = command
        self._first_line = first_line
        self._seconds = seconds
        self._limit = limit
        self._after = after
        self._source = source
        self._stderr = b""

    def __enter__(self) -> LineProcess:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE if self._source is None else self._source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        for stream in (self._process.stdout, self._process.stderr, self._process.stdin):
            with contextlib.suppress(BrokenPipeError):  # what it did not read any more
                if stream is not None:
                    stream.close()
        self._process.wait()

    def send(self, data: bytes) -> bool:
        """Write to standard input; return False if the command does not read it any more."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        return self._process.poll() is None

    def end(self, seconds: float) -> None:
        """Close standard input and give the command that long to end by itself."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def returncode(self) -> int:
        """Exit status; negative is the number of the signal that ended it."""
        return self._process.wait()

    @property
    def stderr(self) -> str:
        """The last 8 KiB of standard error that were read."""
        return self._stderr.decode("utf-8", "replace")

    def __iter__(self) -> Iterator[bytes]:
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None
        assert stderr is not None
        deadline = time.monotonic() + self._seconds
        if self._source is None:
            self.send(self._first_line)  # if it is gone already, its status and last words say why
        rest, size, begun = bytearray(), 0, self._after is None
        for source, chunk in self._chunks(stdout, stderr, deadline):
            if source is stderr:
                self._stderr = (self._stderr + chunk)[-STDERR_KEPT:]
                continue
            size += len(chunk)
            self._limit.check(size, f"{self._command[0]} sent")
            rest += chunk  # in place: a line may come byte by byte
            lines: list[bytes] = []
            if b"\n" in chunk:
                *lines, last = bytes(rest).split(b"\n")
                rest = bytearray(last)
            if not begun and self._after in lines:
                begun, lines = True, lines[lines.index(self._after) + 1 :]
            if begun:
                yield from lines
            if len(rest) > LINE_LIMIT:
                raise MeasurementError(f"{self._command[0]} sent a line of more than 4 MiB")
        if begun and rest:
            yield bytes(rest)
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise self._too_late() from error

    def _chunks(
        self, stdout: IO[bytes], stderr: IO[bytes], deadline: float
    ) -> Iterator[tuple[IO[bytes], bytes]]:
        """Yield what comes on either stream until both have ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ, stdout)
            selector.register(stderr, selectors.EVENT_READ, stderr)
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:  # also of a command that never stops writing
                    raise self._too_late()
                ready = selector.select(left)
                for key, _ in ready:
                    chunk = os.read(key.fd, CHUNK)
                    if chunk:
                        yield key.data, chunk
                    else:
                        selector.unregister(key.fileobj)

    def _too_late(self) -> MeasurementError:
        return MeasurementError(f"{self._command[0]} did not end within {self._seconds:.0f} s")
