"""The processes of a session, whatever its kind: in turns, repeated if disturbed, and kept.

Repetitions go forth and back through the rows (A B C, C B A, …), so that a drift of the machine
adds as much to one as to another.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edgeconv.bench.adaptive import answered, pairs_of
from edgeconv.bench.check import naming
from edgeconv.bench.clocks import fastest_clock, marked, slower_clock
from edgeconv.bench.interference import disturbances, overheated, throttled
from edgeconv.bench.journal import Finished, Journal
from edgeconv.bench.process_events import Answer, why_cut
from edgeconv.bench.repetition import LEAST
from edgeconv.bench.result import ProcessRun, SetAside
from edgeconv.bench.time_limit import UNLIMITED, TimeLimit
from edgeconv.device import Device, Lock, RunRequest
from edgeconv.errors import MeasurementError
from edgeconv.progress import Progress
from edgeconv.units import format_clock

COOLING_SECONDS = 10.0  # before a process that a throttled board spoiled is repeated

Reasons = Callable[[ProcessRun], tuple[str, ...]]


@dataclass(frozen=True)
class Step:
    """A place in the schedule."""

    order: int
    repetition: int
    row: int


@dataclass(frozen=True)
class Row:
    """A file as it is measured: its name for people, and what the device is asked."""

    path: Path
    label: str
    request: RunRequest


def round_of(rows: Sequence[int], repetition: int) -> Iterator[Step]:
    """One process of every row: forth in even repetitions, back in odd ones."""
    for place, row in enumerate(rows if repetition % 2 == 0 else reversed(rows)):
        yield Step(repetition * len(rows) + place, repetition, row)


def measure_repetitions(
    rows: Sequence[Row],
    runnable: Sequence[int],
    device: Device,
    lock: Lock | None,
    journal: Journal,
    progress: Progress,
) -> None:
    """Measure the processes that the journal lacks, until its question is answered.

    Args:
        rows: All rows of the session.
        runnable: Indices of those that the device can run.
        device: Where to measure.
        lock: Keeps the device to this session.
        journal: Has the processes that were measured before, and gets every further one.
        progress: Called before every process.

    Raises:
        MeasurementError: One could not be measured, or the device is another machine now.
    """
    options = journal.session.options
    done = {entry.run.order for entry in journal.finished}
    limited = options.detect is not None or options.in_pairs
    seconds = options.max_time if limited else math.inf
    limit = TimeLimit(seconds, len(runnable), max(options.repetitions, LEAST))
    repetition = 0
    while repetition < options.repetitions or not _answered(journal, runnable, repetition):
        if not limit.allows_round(repetition):
            break
        for step in round_of(runnable, repetition):
            row = rows[step.row]
            if limited:  # how many an answer takes is not known, but how long at most
                most = f"(at most {format_clock(limit.left)} more)"
                progress(f"Measuring {row.label} {most}", step.order, 0)
            else:
                progress(f"Measuring {row.label}", step.order, len(runnable) * options.repetitions)
            if step.order in done:
                continue
            with naming(row.path):
                measure_process(row.request, step, device, lock, journal, limit=limit)
        repetition += 1


def _answered(journal: Journal, rows: Sequence[int], repetitions: int) -> bool:
    """Whether the question is answered, or not to be answered within the limit."""
    options = journal.session.options
    if options.detect is None or repetitions >= options.max_repetitions:
        return True
    if repetitions % 2:  # as many forth as back
        return False
    runs = {row: runs_of(journal, row) for row in rows}
    return answered(runs, options.detect, pairs_of(rows, options))


def finished_of(journal: Journal, row: int) -> list[Finished]:
    """The processes of a row in their order."""
    found = [entry for entry in journal.finished if entry.model == row]
    return sorted(found, key=lambda entry: entry.run.order)


def runs_of(journal: Journal, row: int) -> tuple[ProcessRun, ...]:
    """The processes of a row in their order, marked if others had a faster clock."""
    return marked([entry.run for entry in finished_of(journal, row)])


def measure_process(
    request: RunRequest,
    step: Step,
    device: Device,
    lock: Lock | None,
    journal: Journal,
    reasons: Reasons = disturbances,
    limit: TimeLimit = UNLIMITED,
) -> None:
    """Measure one process, again if it was disturbed, and put what it said into the journal.

    Args:
        request: What the device is asked.
        step: Its place in the schedule.
        device: Where to measure.
        lock: Keeps the device to this session.
        journal: Gets the process, and the samples of those that were disturbed or cut short.
        reasons: Why a process is to be repeated.
        limit: The time of the session, which repeats nothing where it runs short.

    Raises:
        MeasurementError: It could not be measured, or the device is another machine now.
    """
    for left in reversed(range(journal.session.options.retries + 1)):
        if lock is not None:
            lock.renew()
        answer = Answer()
        try:
            with closing(device.run(request)) as events:
                for event in events:
                    answer.take(event)
            machine, run = answer.process(step.repetition, step.order)
        except BaseException as error:
            if answer.samples:
                journal.add_cut(_set_aside(step, answer.samples, why_cut(error)))
            raise
        limit.note_try()
        earlier = [entry.run for entry in journal.finished if entry.model == step.row]
        disturbed = reasons(run)
        slow = slower_clock(run, fastest_clock([*earlier, run]))
        if (disturbed or slow) and left and limit.allows_repeating(len(journal.finished)):
            why = [*disturbed, *([slow] if slow else [])]
            journal.add(_set_aside(step, answer.samples, "; ".join(why)))
            if throttled(run) or overheated(run):
                time.sleep(COOLING_SECONDS)
            continue
        entry = Finished(
            model=step.row,
            machine=machine,
            run=run.model_copy(update={"disturbances": disturbed}),
            steps=answer.steps,
        )
        _check_same_machine(entry, journal)
        journal.add(entry)
        return


def _set_aside(step: Step, samples: Sequence[int], reason: str) -> SetAside:
    return SetAside(
        model=step.row, repetition=step.repetition, reason=reason, samples_ns=tuple(samples)
    )


def _check_same_machine(entry: Finished, journal: Journal) -> None:
    """A resumed session may have met another board under the same name, or a new runtime."""
    device = journal.session.device
    for before in journal.finished:
        for name in ("architecture", "board", "cpu", "cores"):
            was, now = getattr(before.machine, name), getattr(entry.machine, name)
            if was != now:
                raise MeasurementError(
                    f"{device}: it is another machine than before ({name} {now}, was {was})",
                    hint="measure again from the beginning",
                )
        if before.model == entry.model:
            was = f"{before.run.runtime.value} {before.run.runtime_version}"
            now = f"{entry.run.runtime.value} {entry.run.runtime_version}"
            if was != now:
                raise MeasurementError(
                    f"{device}: it has {now} now and had {was}",
                    hint="measure again from the beginning",
                )
