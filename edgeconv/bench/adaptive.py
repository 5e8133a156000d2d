"""Whether a session has measured enough to answer the question.

The number of processes adapts only to the width of the interval, never to where it lies: stopping
as soon as a difference shows would find one everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeconv.bench import statistics
from edgeconv.bench.repetition import LEAST
from edgeconv.bench.result import ProcessRun, paired
from edgeconv.bench.statistics import Figure

Runs = Sequence[ProcessRun]


def answered(files: Sequence[Runs], detect: float) -> bool:
    """Whether a change of ``detect`` (0.03 is 3 %) would be found in 90 % of such sessions.

    Args:
        files: The processes of each file, of one session and equally many.
        detect: The change that matters: of every file against the first, or of the only one
            against itself.
    """
    if len(files[0]) < LEAST:
        return False
    if len(files) == 1:
        samples = [run.samples_ns for run in files[0] if not run.disturbances]
        if len(samples) < LEAST:
            return False
        logs = (statistics.logs_of(samples, figure) for figure in Figure)
        return min(map(statistics.resolution_of, logs)) <= detect
    return all(_distinguished(file, files[0], detect) for file in files[1:])


def _distinguished(file: Runs, first: Runs, detect: float) -> bool:
    pairs = paired(file, first)
    if pairs is None:
        return False
    new, old = ([run.samples_ns for run in runs] for runs in pairs)
    return statistics.compare(new, old, paired=True).resolution <= detect
