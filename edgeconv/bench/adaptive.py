"""Whether a session has measured enough to answer the question.

The number of processes adapts only to the width of the interval, never to where it lies: stopping
as soon as a difference shows would find one everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from edgeconv.bench import statistics
from edgeconv.bench.repetition import LEAST
from edgeconv.bench.result import BenchOptions, ProcessRun, paired
from edgeconv.bench.statistics import Figure
from edgeconv.units import format_clock

Runs = Sequence[ProcessRun]


def pairs_of(rows: Sequence[int], options: BenchOptions) -> list[tuple[int, int]]:
    """Which row is compared with which: the new one, then the old one.

    Args:
        rows: The rows that are measured; a row is a file with a number of threads.
        options: With ``in_pairs`` the files are an old and a new version in turns, and each is
            compared with its own. Otherwise every row is compared with the first.
    """
    if not options.in_pairs:
        return [(row, rows[0]) for row in rows[1:]]
    threads = len(options.sweep)
    new = (row for row in rows if row // threads % 2)
    return [(row, row - threads) for row in new if row - threads in rows]


def answered(rows: Mapping[int, Runs], detect: float, pairs: Collection[tuple[int, int]]) -> bool:
    """Whether a change of ``detect`` (0.03 is 3 %) would be found in 90 % of such sessions.

    Args:
        rows: The processes of each row, of one session and equally many.
        detect: The change that matters.
        pairs: Which rows are compared; the only row is compared with itself.
    """
    some = next(iter(rows.values()))
    if len(some) < LEAST:
        return False
    if len(rows) == 1:
        samples = [run.samples_ns for run in some if not run.disturbances]
        if len(samples) < LEAST:
            return False
        logs = (statistics.logs_of(samples, figure) for figure in Figure)
        return min(map(statistics.resolution_of, logs)) <= detect
    return all(_distinguished(rows[new], rows[old], detect) for new, old in pairs)


def undecided(rows: Mapping[int, Runs], options: BenchOptions) -> tuple[str, ...]:
    """Say that a session ended before what it was asked for could be answered.

    Args:
        rows: The processes of each row, as for :func:`answered`.
        options: How it was measured.
    """
    count = len(next(iter(rows.values())))
    if options.detect is None:
        if not options.in_pairs or count >= options.repetitions:
            return ()
    elif answered(rows, options.detect, pairs_of(list(rows), options)):
        return ()
    found = f"{count} processes of each file are fewer than the {LEAST} that an answer needs"
    if options.detect is not None and count >= LEAST:
        found = f"{count} processes of each file are too few to find {100 * options.detect:g}% here"
    if count >= options.max_repetitions:
        return (f"{found}, and the most that were allowed",)
    limit = format_clock(options.max_time)
    return (f"{found}, and --max-time {limit} ended it: allow more, or keep the machine quiet",)


def _distinguished(new: Runs, old: Runs, detect: float) -> bool:
    pairs = paired(new, old)
    if pairs is None:
        return False
    ours, theirs = ([run.samples_ns for run in runs] for runs in pairs)
    return statistics.compare(ours, theirs, paired=True).resolution <= detect
