"""How many processes are enough: as many as the question needs, within a limit.

The number adapts to the width of the interval alone, never to where it lies: stopping as soon as a
difference shows would find one everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeconv.bench import statistics
from edgeconv.bench.statistics import Figure

LEAST = 6  # repetitions before the width of an interval is believed
MOST = 40  # the limit unless another is stated


Processes = Sequence[Sequence[int]]


def answered(files: Sequence[Processes], detect: float) -> bool:
    """Whether a change of ``detect`` (0.03 is 3 %) would be found in 90 % of such sessions.

    Args:
        files: The samples of each process of each file, in pairs of one session.
        detect: The change that matters: of every file against the first, or of the only one
            against itself.
    """
    if min(map(len, files)) < LEAST:
        return False
    if len(files) == 1:
        logs = (statistics.logs_of(files[0], figure) for figure in Figure)
        return min(map(statistics.resolution_of, logs)) <= detect
    changes = (statistics.compare(file, files[0], paired=True) for file in files[1:])
    return all(change.resolution <= detect for change in changes)


def enough_calm(calm: int, processes: int) -> bool:
    """Whether the processes that nothing disturbed can speak for all."""
    return calm >= max(2, min(math.ceil(processes / 2), LEAST))
