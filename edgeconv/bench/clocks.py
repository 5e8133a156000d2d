"""The frequency that a process ran at, and whether it was the same all the time and every time."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from edgeconv.bench.result import ProcessRun

FREQUENCY_CHANGE = 0.05
WORKED = 0.5  # share of the time that a core was busy for
SHORTEST_SECONDS = 0.5  # the system's CPU times have ticks of 10 ms, too coarse for less


def frequency_change(run: ProcessRun) -> float:
    """Largest relative change of the frequency of a core that worked; idle ones may change.

    Without a core that worked most of the time (threads wander), or where the device did not say
    how long each worked, it is that of the fastest core.
    """
    found = 0.0
    for clocks in _clocks(run):
        found = max(found, 1 - min(clocks) / max(clocks))
    return found


def clock(run: ProcessRun) -> float | None:
    """The median frequency of the fastest core that worked, in Hz; None if not reported."""
    return max((median(clocks) for clocks in _clocks(run)), default=None)


def _clocks(run: ProcessRun) -> list[list[int]]:
    """The frequencies over time of each core that worked."""
    states = [state.frequencies_hz for state in run.states]
    count = min(map(len, states))
    worked = _worked(run)
    cores = [[state[core] for state in states] for core in range(count) if core in worked]
    if not cores and count:
        cores = [[max(state) for state in states]]
    return [clocks for clocks in cores if min(clocks) > 0]


def _worked(run: ProcessRun) -> set[int]:
    """The places of the cores that were busy for most of the time."""
    seconds = run.elapsed_ns / 1e9
    pairs = zip(run.before.busy_seconds, run.after.busy_seconds, strict=False)
    if seconds < SHORTEST_SECONDS:
        return set()
    return {core for core, (a, b) in enumerate(pairs) if b - a > WORKED * seconds}


def fastest_clock(runs: Sequence[ProcessRun]) -> float | None:
    """The highest frequency that processes of one file ran at."""
    return max(filter(None, map(clock, runs)), default=None)


def slower_clock(run: ProcessRun, fastest: float | None) -> str | None:
    """Say that others had a faster clock, which makes this process another measurement."""
    own = clock(run)
    if own is None or fastest is None or 1 - own / fastest <= FREQUENCY_CHANGE:
        return None
    return f"the CPU ran at {own / 1e9:.2f} GHz, in other processes at {fastest / 1e9:.2f}"


def marked(runs: Sequence[ProcessRun]) -> tuple[ProcessRun, ...]:
    """The processes of one file; those that had a slower clock than others are disturbed."""
    fastest = fastest_clock(runs)
    return tuple(
        run.model_copy(update={"disturbances": (*run.disturbances, slow)})
        if (slow := slower_clock(run, fastest))
        else run
        for run in runs
    )
