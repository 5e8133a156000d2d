"""What a sweep is about to do, and about how long that takes."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from edgeconv.bundle import Format
from edgeconv.device.names import pools
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.contents import check_there
from edgeconv.sweep.jobs import ExportJob
from edgeconv.sweep.plan import Plan

# Seconds of a job while the cache has none of its kind: guesses, and called so.
_GUESSES = {
    "calibrate": 20.0,
    "export": 20.0,
    "count": 60.0,
    "shard": 20.0,
    "score": 2.0,
    "exit": 20.0,
}
_PROCESS_SECONDS = 1.5  # to start a measuring process, beyond what it measures


@dataclass(frozen=True)
class Kind:
    """The jobs of a kind.

    Attributes:
        name: The kind.
        jobs: How many there are.
        done: How many of them are in the cache already, as far as that is known before exports.
        seconds: How long one takes.
        earlier: How many earlier jobs that is the median of; 0 for a guess.
    """

    name: str
    jobs: int
    done: int
    seconds: float
    earlier: int

    @property
    def left_seconds(self) -> float:
        """The time of all that is left, one after another."""
        return (self.jobs - self.done) * self.seconds


def estimate(plan: Plan, exports: Sequence[ExportJob], cache: Cache) -> list[Kind]:
    """The jobs of a plan by their kinds.

    What is known of earlier jobs is their median, whatever their networks were.

    Raises:
        UsageError: The data of the evaluation is not there.
    """
    if plan.evaluate is not None:
        check_there(plan.evaluate.data)
        if plan.evaluate.truth is not None:
            check_there(plan.evaluate.truth)
    jobs, named = Counter[str](), pools()
    done = Counter({"export": sum(cache.has("export", job.key()) for job in exports)})
    left = [job for job in exports if not cache.has("export", job.key())]
    if parts := [part for job in left for part in job.parts()]:
        jobs["calibrate"] = len(parts)
        done["calibrate"] = sum(cache.has("calibrate", part.key()) for part in parts)
    jobs["export"] = len(exports)
    if plan.measure is not None:
        jobs["measure"] = len(exports) * len(plan.measure.devices)
        if plan.measure.repetitions > 1 and exports:  # all boards of a pool make the first one
            members = (named.get(device, (device,)) for device in plan.measure.devices)
            jobs["measure"] += sum(len(boards) - 1 for boards in members)
    if plan.count is not None:
        jobs["count"] = len(exports) * len(plan.count.devices)
    if plan.evaluate is not None:
        whole = sum(job.chain is None for job in exports)
        chains = len({job.chain for job in exports if job.chain is not None})
        jobs["shard"], jobs["score"] = whole * plan.evaluate.shards, whole
        jobs["exit"] = chains * plan.evaluate.shards
    earlier: dict[str, list[float]] = {}
    for entry in cache.entries():
        earlier.setdefault(entry.kind, []).append(entry.seconds)
    return [
        _kind(name, count, done[name], earlier.get(name, []), plan)
        for name, count in jobs.items()
        if count
    ]


def _kind(name: str, jobs: int, done: int, earlier: list[float], plan: Plan) -> Kind:
    if name == "measure" and plan.measure is not None:
        # How long a measurement takes is asked for, so nothing has to be known of earlier ones.
        each = plan.measure.seconds + plan.measure.warmup + _PROCESS_SECONDS
        rows = len(plan.export.formats or Format) * len(plan.measure.threads)
        # One more process for each file looks at its outputs and its memory.
        return Kind(name, jobs, done, rows * (plan.measure.repetitions + 1) * each, 0)
    seconds = statistics.median(earlier) if earlier else _GUESSES[name]
    return Kind(name, jobs, done, seconds, len(earlier))
