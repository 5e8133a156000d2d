"""What went on beside a measurement: reasons to distrust it, in words."""

from __future__ import annotations

from collections.abc import Sequence

from edgeconv.bench.result import ModelResult, ProcessRun

OTHERS_CORES = 0.2  # mean number of cores that other processes may use
STOLEN_SHARE = 0.02
FREQUENCY_CHANGE = 0.05
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
    """The board's throttle bits, if it tells any and one is set."""
    bits = run.after.throttled
    try:
        return bits if bits is not None and int(bits, 16) else None
    except ValueError:
        return None


def warnings(models: Sequence[ModelResult], governor: str | None) -> tuple[str, ...]:
    """One line for each kind of disturbance, with the worst case of it."""
    runs = [(model.file.name, run) for model in models for run in model.processes]
    found = []
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
    bits = next((bits for _, r in runs if (bits := throttled(r))), None)
    if bits:
        found.append(f"the board reports throttling (bits {bits})")
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
