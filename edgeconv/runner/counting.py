"""Executed instructions, under an emulator that counts them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from edgeconv.runner.request import RunnerError
from edgeconv.runner.system import read_text

MARK = 0x51  # not a kind of priority: the call fails, and the emulator takes it as a mark


def count_instructions(infer: Callable[[], object], path: str, runs: int) -> list[list[int | None]]:
    """Count the instructions of each of ``runs`` inferences, by class.

    The emulator appends a line to ``path`` at every mark; the counts are the differences of these
    lines. What the marks themselves execute is measured around nothing and subtracted.

    Returns:
        A row for each inference; None for classes that the emulator does not count.

    Raises:
        RunnerError: There is no emulator that counts.
    """
    for index, work in enumerate([lambda: None, lambda: None, *[infer] * runs]):
        mark(2 * index)
        work()
        mark(2 * index + 1)
    lines = [line.split()[1:] for line in (read_text(path) or "").splitlines()]
    if len(lines) != 2 * (runs + 2):
        raise RunnerError("counts", f"the emulator wrote {len(lines)} lines into {path}")
    _, empty, *counts = [
        [None if b == "-" else int(b) - int(a) for a, b in zip(before, after)]
        for before, after in zip(lines[::2], lines[1::2])
    ]
    return [
        [None if b is None or a is None else max(0, b - a) for a, b in zip(empty, count)]
        for count in counts
    ]


def mark(tag: int) -> None:
    """Ask the emulator for a line; anywhere else this is a system call that fails."""
    with contextlib.suppress(OSError):
        os.getpriority(MARK, tag)
