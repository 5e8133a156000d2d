"""A Dask cluster of separate processes, which tests may kill."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Scheduler:
    """The process of a scheduler, and its address."""

    process: subprocess.Popen[str]
    address: str


@contextlib.contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "dask", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def _line_with(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"it never said {pattern}")


@contextlib.contextmanager
def scheduler() -> Iterator[Scheduler]:
    with _process("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard") as started:
        yield Scheduler(started, _line_with(started, r"Scheduler at: +(tcp://127.0.0.1:\d+)")[1])


@contextlib.contextmanager
def worker(address: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A worker of one thread, once its scheduler knows it."""
    with _process(
        *("worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard", *arguments)
    ) as started:
        _line_with(started, r"Registered to: ")
        yield started
