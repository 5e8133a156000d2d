"""How a long computation reports its progress: one shape for exports, evaluations and benchmarks.

:func:`edgeconv.report.tables.progress` draws it on a terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable

# Called with the name of a step, how much of it is done and how much there is; 0 is not known.
Progress = Callable[[str, int, int], None]

# Begins the name of a step that tries a pass for the accuracy of int8.
TRYING = "Trying "

# Ends the name of a step of one of several attempts, with its number behind.
ATTEMPT = ", attempt "


class StepTimes:
    """Passes progress on, and adds up how long each step takes, in whichever attempt.

    Args:
        progress: Called with each report, too.

    Attributes:
        seconds: The time of each step that is over, by its name.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._step, self._start = "", time.perf_counter()
        self.seconds: dict[str, float] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        """Take note of one report."""
        name = step.partition(ATTEMPT)[0]
        if name != self._step:
            now = time.perf_counter()
            self.seconds[self._step] = self.seconds.get(self._step, 0.0) + now - self._start
            self._step, self._start = name, now
        self._progress(step, done, total)


def goes_on(before: tuple[int, int], after: tuple[int, int], *, same_name: bool) -> bool:
    """Whether a report goes on with the count of the one before.

    Files that take turns are counted together, under the name of each. The total may grow, as that
    of a measurement that needs more processes than it planned. A step that is carried out twice
    begins anew.

    Args:
        before: How much of the step before was done, and how much there was.
        after: The same of the report.
        same_name: Whether both name the same step.
    """
    if same_name:
        return after[0] > 0 or before[0] == 0
    unknown = before[1] == after[1] == 0
    return after[0] > 0 and before[0] <= after[0] and (unknown or 1 < before[1] <= after[1])


def no_progress(step: str, done: int, total: int) -> None:
    """Report nothing."""
