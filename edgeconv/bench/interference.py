"""What disturbed a measurement: reasons to distrust it, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeconv.bench.clocks import (
    FREQUENCY_CHANGE,
    SHORTEST_SECONDS,
    clock,
    fastest_clock,
    frequency_change,
    slower_clock,
)
from edgeconv.bench.result import BenchOptions, ModelResult, ProcessRun, SetAside
from edgeconv.bench.states import states_of
from edgeconv.bench.statistics import Figure, logs_of
from edgeconv.device.messages import Conditions, Machine

OTHERS_CORES = 0.2  # mean number of cores that other processes may use
STOLEN_SHARE = 0.02
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
THROTTLE_BITS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
SUSPENDED_SECONDS = 0.01  # two clocks are read one after the other
HOT_C = 85.0  # where every Raspberry Pi slows down; the softer limits are 60 to 80


def others_cores(run: ProcessRun) -> float:
    """Mean number of cores that processes other than the runner used in its steady state."""
    return others_between(run.before, run.after, run.elapsed_ns / 1e9)


def stolen_share(run: ProcessRun) -> float:
    """Share of the steady state that the hypervisor gave to other machines, in cores."""
    return stolen_between(run.before, run.after, run.elapsed_ns / 1e9)


def others_between(before: Conditions, after: Conditions, seconds: float) -> float:
    """Mean number of cores that other processes used between two states.

    Args:
        before: The first state.
        after: The second state.
        seconds: The time between them; 0.0 is returned if it is too short to measure.
    """
    if seconds < SHORTEST_SECONDS:
        return 0.0
    used = after.all_cpu_seconds - before.all_cpu_seconds
    own = after.own_cpu_seconds - before.own_cpu_seconds
    return max(0.0, (used - own) / seconds)


def stolen_between(before: Conditions, after: Conditions, seconds: float) -> float:
    """Mean number of cores that the hypervisor gave to other machines between two states.

    Args:
        before: The first state.
        after: The second state.
        seconds: The time between them; 0.0 is returned if it is too short to measure.
    """
    if seconds < SHORTEST_SECONDS:
        return 0.0
    return (after.stolen_seconds - before.stolen_seconds) / seconds


def too_many_threads(threads: int, machine: Machine) -> str | None:
    """A warning if threads share CPUs; None if each has its own."""
    cores = machine.cores_allowed
    quota = machine.cpu_quota
    if quota is not None and threads > quota:
        return (
            f"{threads} {'thread has' if threads == 1 else 'threads have'} the time of "
            f"{quota:g} CPUs: the container's quota stops them"
        )
    if threads <= cores:
        return None
    cpus = "one CPU" if cores == 1 else f"{cores} CPUs"
    return f"{threads} threads share {cpus}; --threads {cores} may be faster"


def throttled(run: ProcessRun) -> str | None:
    """Describe the throttling during this process in words; None if there was none."""
    bits = [_bits(state.throttled) for state in run.states]
    # The upper half remembers what happened since the start of the board, but only once.
    now = 0
    for state in bits:
        now |= state & 0xF
    now |= ((bits[-1] & ~bits[0]) >> 16) & 0xF
    words = [word for bit, word in enumerate(THROTTLE_BITS) if now >> bit & 1]
    return f"{', '.join(words)} (bits {run.after.throttled})" if words else None


def overheated(run: ProcessRun) -> str | None:
    """Say that a board was so hot that it must have slowed down, whatever its bits say."""
    degrees = [state.temperature_c for state in run.states if state.temperature_c is not None]
    if max(degrees, default=0.0) < HOT_C:
        return None
    return f"the board reached {max(degrees):.0f} °C, where boards slow down"


def stopped_share(run: ProcessRun) -> float:
    """Share of the steady state for which the CPU quota of the container stopped it."""
    stopped = run.after.stopped_seconds - run.before.stopped_seconds
    return max(0.0, stopped) / (run.elapsed_ns / 1e9)


def continuations(run: ProcessRun) -> int:
    """How often a signal stopped the process during the steady state and it went on."""
    return run.after.continued - run.before.continued


def suspended(run: ProcessRun) -> float:
    """Seconds of the steady state for which the device was suspended."""
    return run.after.suspended_seconds - run.before.suspended_seconds


def _bits(text: str | None) -> int:
    try:
        return int(text or "0", 16)
    except ValueError:
        return 0


def disturbances(run: ProcessRun) -> tuple[str, ...]:
    """List the reasons to repeat a process.

    None of them looks at the latency: repeating what is slow would make a figure too good.
    """
    found = []
    if others_cores(run) > OTHERS_CORES:
        found.append(f"others used {others_cores(run):.1f} cores")
    if stopped_share(run) > STOLEN_SHARE:
        found.append(f"the CPU quota stopped it for {stopped_share(run):.0%} of the time")
    return (*found, *disturbances_beside(run))


def disturbances_beside(run: ProcessRun) -> tuple[str, ...]:
    """List the reasons to repeat a process that ran beside others of ours.

    Those take cores, and a share of the container's quota: that is what is measured.
    """
    found = []
    if stolen_share(run) > STOLEN_SHARE:
        found.append(f"the hypervisor took {stolen_share(run):.0%} of a core")
    if frequency_change(run) > FREQUENCY_CHANGE:
        found.append(f"the CPU frequency changed by {frequency_change(run):.0%}")
    if words := throttled(run):
        found.append(f"the board reports: {words}")
    if words := overheated(run):
        found.append(words)
    return (*found, *interruptions(run))


def interruptions(run: ProcessRun) -> tuple[str, ...]:
    """List what made the process pause as a whole."""
    found = []
    if continuations(run) > 0:
        times = "once" if continuations(run) == 1 else f"{continuations(run)} times"
        found.append(f"a signal stopped the process {times}, and it was continued")
    if suspended(run) > SUSPENDED_SECONDS:
        found.append(f"the device was suspended for {suspended(run):.1f} s")
    return tuple(found)


def warnings(
    models: Sequence[ModelResult],
    machine: Machine,
    options: BenchOptions,
    set_aside: Sequence[SetAside],
) -> tuple[str, ...]:
    """One line for each kind of disturbance, with the worst case of it."""
    runs = [(model.label, run) for model in models for run in model.processes]
    found = []
    if set_aside:
        what = "1 process was" if len(set_aside) == 1 else f"{len(set_aside)} processes were"
        found.append(
            f"{what} disturbed or cut short, and measured again (the last: {set_aside[-1].reason})"
        )
    found += stayed_disturbed(models)
    name, run = max(runs, key=lambda pair: others_cores(pair[1]))
    if others_cores(run) > OTHERS_CORES:
        count = sum(others_cores(r) > OTHERS_CORES for _, r in runs)
        found.append(
            f"the machine was busy: in {_among(count, len(runs))} others used CPU, up to "
            f"{others_cores(run):.1f} cores ({name}, repetition {run.repetition + 1})"
        )
    name, run = max(runs, key=lambda pair: stolen_share(pair[1]))
    if stolen_share(run) > STOLEN_SHARE:
        found.append(
            f"the hypervisor took up to {stolen_share(run):.0%} of a core "
            f"({name}, repetition {run.repetition + 1})"
        )
    name, run = max(runs, key=lambda pair: frequency_change(pair[1]))
    if frequency_change(run) > FREQUENCY_CHANGE:
        found.append(
            f"the CPU frequency changed by up to {frequency_change(run):.0%} "
            f"({name}, repetition {run.repetition + 1})"
        )
    name, run = max(runs, key=lambda pair: stopped_share(pair[1]))
    if stopped_share(run) > STOLEN_SHARE:
        found.append(
            f"the container's CPU quota stopped it for up to {stopped_share(run):.0%} of the time "
            f"({name}, repetition {run.repetition + 1})"
        )
    words = next((words for _, r in runs if (words := throttled(r))), None)
    if words:
        found.append(f"the board reports: {words}")
    words = next((words for _, r in runs if (words := overheated(r))), None)
    if words:
        found.append(words)
    found += dict.fromkeys(words for _, run in runs for words in interruptions(run))
    if machine.governor not in (None, "performance"):
        found.append(f"the CPU governor is {machine.governor}; performance gives steadier figures")
    if crowd := too_many_threads(max(options.sweep), machine):
        found.append(crowd)
    return (*found, *_per_model(models, options))


def stayed_disturbed(models: Sequence[ModelResult]) -> list[str]:
    """Which processes stayed disturbed, and whether the figures are without them."""
    found = []
    for model in models:
        still = sum(bool(run.disturbances) for run in model.processes)
        if not still:
            continue
        where = _among(still, len(model.processes))
        if model.trusted and len(model.processes) > 1:
            found.append(f"{model.label}: {where} stayed disturbed and do not count")
        else:
            found.append(f"{model.label}: {where} stayed disturbed: distrust these figures")
    return found


def _never_stable(run: ProcessRun) -> bool:
    return run.warmup_runs > 0 and not run.warmup_stable


def _among(some: int, processes: int) -> str:
    return "the only process" if processes == 1 else f"{some} of {processes} processes"


def _not_reached(runs: Sequence[ProcessRun], options: BenchOptions) -> str:
    """Which of the two things asked some process lacks."""
    found = []
    if any(len(run.samples_ns) < options.runs for run in runs):
        found.append(f"--runs {options.runs}")
    if any(run.elapsed_ns < options.seconds * 1e9 for run in runs):
        found.append(f"--seconds {options.seconds:g}")
    return " and ".join(found) or "the end"


def _per_model(models: Sequence[ModelResult], options: BenchOptions) -> list[str]:
    found = []
    for model in models:
        name, count = model.label, len(model.processes)
        found += _two_states(model)
        if unstable := sum(_never_stable(run) for run in model.processes):
            where = _among(unstable, count)
            found.append(f"{name}: the warm-up never became stable in {where}")
        if short := [run for run in model.processes if not run.complete]:
            found.append(
                f"{name}: --max-seconds {options.max_seconds:g} was up before "
                f"{_not_reached(short, options)} in {_among(len(short), count)}"
            )
        hashes = {tuple(o.sha256 for o in run.outputs) for run in model.processes}
        if len(hashes) > 1:
            found.append(f"{name}: the outputs differ between processes on the same inputs")
    return found


def _two_states(model: ModelResult) -> list[str]:
    """Tell two states of the machine apart: by the reported clock, else by the latency alone."""
    fastest = fastest_clock(model.processes)
    slow = [run for run in model.processes if slower_clock(run, fastest)]
    found = []
    if slow and fastest:
        clocks = sorted({round((clock(run) or 0.0) / 1e9, 1) for run in slow})
        named = ", ".join(f"{hertz:g}" for hertz in clocks)
        found.append(
            f"{model.label}: {_among(len(slow), len(model.processes))} ran at {named} GHz, the "
            f"others at {fastest / 1e9:.1f} GHz"
        )
    states = states_of(logs_of(model.samples, Figure.LOW))
    if states is not None:
        count = int(states.slow.sum())
        found.append(
            f"{model.label}: {_among(count, len(states.slow))} took "
            f"{math.expm1(states.gap):.0%} longer than the others: two states of the machine, "
            "which comparisons tell apart"
        )
    return found
