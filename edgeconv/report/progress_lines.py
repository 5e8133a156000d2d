"""Progress where there is no terminal: a line now and then, as in the log of a CI."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from edgeconv.errors import UsageError
from edgeconv.progress import Progress, goes_on
from edgeconv.report.output import echo_line
from edgeconv.units import format_clock

VARIABLE = "EDGECONV_PROGRESS_SECONDS"
SECONDS = 20.0  # between two lines, unless VARIABLE states another time; 0 is no lines


@dataclass
class _Step:
    """What was reported last.

    Attributes:
        name: The step.
        done: How much of it is done.
        total: How much there is; 0 is not known.
        started: When its count began, which may have been under another name.
    """

    name: str
    done: int = 0
    total: int = 0
    started: float = field(default_factory=time.monotonic)

    def line(self, since: float, *, of_step: bool) -> str:
        """The line about it, for a computation that began at the time ``since``.

        ``of_step`` says that the time left is not that of the whole computation.
        """
        now = time.monotonic()
        parts = [f"after {format_clock(now - since)}: {self.name}"]
        if self.total > 1:
            parts.append(f"{self.done} of {self.total}")
        elif self.total == 0 and self.done > 0:
            parts.append(f"{self.done} done")
        elif self.started - since >= 1:
            parts.append(f"for {format_clock(now - self.started)}")
        if 0 < self.done < self.total:
            left = (now - self.started) / self.done * (self.total - self.done)
            parts.append(f"about {format_clock(left)} left{' of this step' * of_step}")
        return ", ".join(parts)


@contextmanager
def progress_lines(first: str, *, steps: bool) -> Iterator[Progress]:
    """Print a line on standard error every 20 seconds, whether or not anything is reported.

    Args:
        first: The step until one is reported.
        steps: Whether several steps follow each other.

    Yields:
        What to report to.

    Raises:
        UsageError: The environment states no number of seconds.
    """
    interval = _interval()
    stream = sys.stderr  # what is printed on it is discarded while a network is traced
    began, step, over = time.monotonic(), _Step(first), threading.Event()

    def show(name: str, done: int, total: int) -> None:
        nonlocal step
        before = step.done, step.total
        same = goes_on(before, (done, total), same_name=name == step.name)
        step = _Step(name, done, total, step.started if same else time.monotonic())

    def tick() -> None:
        # If the disk is full or the reader has left, the command itself will say so.
        with suppress(OSError):
            while not over.wait(interval):
                echo_line(f"progress: {step.line(began, of_step=steps)}", stream=stream)

    thread = threading.Thread(target=tick, name="progress", daemon=True)
    if interval > 0:
        thread.start()
    try:
        yield show
    finally:
        over.set()
        if interval > 0:
            thread.join()


def _interval() -> float:
    stated = os.environ.get(VARIABLE, "")
    try:
        seconds = float(stated) if stated else SECONDS
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise UsageError(
            f"{VARIABLE} is {stated!r}, not a number of seconds",
            hint="write one such as 20, or 0 for no lines",
        )
    return seconds
