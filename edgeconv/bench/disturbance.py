"""What went on beside a measurement: reasons to distrust it, in words."""

from __future__ import annotations

from collections.abc import Sequence

from edgeconv.bench.result import ModelResult, ProcessRun, SetAside

OTHERS_CORES = 0.2  # mean number of cores that other processes may use
STOLEN_SHARE = 0.02
FREQUENCY_CHANGE = 0.05
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
THROTTLE_BITS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
SHORTEST_SECONDS = 0.5  # below, the system's CPU times (ticks of 10 ms) are too coarse to tell


def others_cores(run: ProcessRun) -> float:
    """Mean number of cores that processes other than the runner used in its steady state."""
    if seconds(run) < SHORTEST_SECONDS:
        return 0.0
    used = run.after.all_cpu_seconds - run.before.all_cpu_seconds
    own = run.after.own_cpu_seconds - run.before.own_cpu_seconds
    return max(0.0, (used - own) / seconds(run))


def stolen_share(run: ProcessRun) -> float:
    """Share of the steady state that the hypervisor gave to other machines, in cores."""
    if seconds(run) < SHORTEST_SECONDS:
        return 0.0
    return (run.after.stolen_seconds - run.before.stolen_seconds) / seconds(run)


def seconds(run: ProcessRun) -> float:
    return max(run.elapsed_ns, 1) / 1e9


def frequency_change(run: ProcessRun) -> float:
    """Largest relative change of a core's frequency from the beginning to the end."""
    pairs = zip(run.before.frequencies_hz, run.after.frequencies_hz, strict=False)
    return max((abs(after - before) / before for before, after in pairs if before), default=0.0)


def throttled(run: ProcessRun) -> str | None:
    """What the board's throttle bits say of this process, in words; None if nothing."""
    before, after = _bits(run.before.throttled), _bits(run.after.throttled)
    # The upper half remembers what happened since the start of the board.
    bits = (before | after) & 0xF | ((after & ~before) >> 16) & 0xF
    words = [word for bit, word in enumerate(THROTTLE_BITS) if bits >> bit & 1]
    return f"{', '.join(words)} (bits {run.after.throttled})" if words else None


def _bits(text: str | None) -> int:
    try:
        return int(text or "0", 16)
    except ValueError:
        return 0


def disturbances(run: ProcessRun) -> tuple[str, ...]:
    """Why a process should be repeated. None of it looks at the latency: to repeat what is slow
    would make a figure too good."""
    found = []
    if others_cores(run) > OTHERS_CORES:
        found.append(f"others used {others_cores(run):.1f} cores")
    if stolen_share(run) > STOLEN_SHARE:
        found.append(f"the hypervisor took {stolen_share(run):.0%} of a core")
    if frequency_change(run) > FREQUENCY_CHANGE:
        found.append(f"the CPU frequency changed by {frequency_change(run):.0%}")
    if words := throttled(run):
        found.append(f"the board reports: {words}")
    return tuple(found)


def warnings(
    models: Sequence[ModelResult], governor: str | None, set_aside: Sequence[SetAside]
) -> tuple[str, ...]:
    """One line for each kind of disturbance, with the worst case of it."""
    runs = [(model.file.name, run) for model in models for run in model.processes]
    found = []
    if set_aside:
        found.append(
            f"{len(set_aside)} processes were disturbed or cut short, and measured again "
            f"(the last: {set_aside[-1].reason})"
        )
    if still := sum(bool(run.disturbances) for _, run in runs):
        found.append(f"{still} of {len(runs)} processes stayed disturbed: distrust these figures")
    name, run = max(runs, key=lambda pair: others_cores(pair[1]))
    if others_cores(run) > OTHERS_CORES:
        count = sum(others_cores(r) > OTHERS_CORES for _, r in runs)
        found.append(
            f"the machine was busy: in {count} of {len(runs)} processes others used CPU, up to "
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
    words = next((words for _, r in runs if (words := throttled(r))), None)
    if words:
        found.append(f"the board reports: {words}")
    if governor not in (None, "performance"):
        found.append(f"the CPU governor is {governor}; performance gives steadier figures")
    return (*found, *_per_model(models))


def _never_stable(run: ProcessRun) -> bool:
    return run.warmup_runs > 0 and not run.warmup_stable


def _per_model(models: Sequence[ModelResult]) -> list[str]:
    found = []
    for model in models:
        name, count = model.file.name, len(model.processes)
        if unstable := sum(_never_stable(run) for run in model.processes):
            found.append(f"{name}: the warm-up never became stable in {unstable} of {count}")
        if short := sum(not run.complete for run in model.processes):
            found.append(
                f"{name}: the time was up before the asked runs in {short} of {count} processes"
            )
        hashes = {tuple(o.sha256 for o in run.outputs) for run in model.processes}
        if len(hashes) > 1:
            found.append(f"{name}: the outputs differ between processes on the same inputs")
    return found
