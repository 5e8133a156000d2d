"""Measure what a sweep adds to its jobs: planning, sending, keeping results.

    .venv/bin/python -m benchmarks.sweep_overhead [--jobs 1000] [--planned 10000]

The jobs sleep, or do nothing, and write a result of a few bytes, which is on the disk when they
end. They run in threads of this process and on a local Dask cluster, whose many workers are
threads of a few processes: a worker that sleeps needs no core. Planning is everything from the
plan to the keys of all exports; its memory is what Python allocated at most meanwhile.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from distributed import Client, LocalCluster

from benchmarks.measuring import machine, markdown_table, publish
from edgeconv.device.dispatch import Failure
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.candidates import candidates
from edgeconv.sweep.driver import Driver
from edgeconv.sweep.jobs import ExportJob, Job
from edgeconv.sweep.plan import Models, Plan
from edgeconv.sweep.workers import Workers
from edgeconv.units import format_bytes, format_duration

# What ends an export without a bundle, so that nothing follows from it.
NO_BUNDLE = Failure("it only sleeps")


@dataclass(frozen=True)
class Sleeping(Workers):
    """Workers that sleep instead."""

    seconds: float = 0.0

    def submit(self, job: Job, board: str | None) -> Future[Failure | None]:
        return self.executor.submit(sleep, job, self.cache, self.seconds)


def sleep(job: Job, cache: Cache, seconds: float) -> Failure:
    with cache.writing("slept", job.key()):
        time.sleep(seconds)
    return NO_BUNDLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--planned", type=int, default=10_000)
    given = parser.parse_args()
    planned, seconds, most = planning(given.planned)
    rows = [
        (f"planning {given.planned} exports", format_duration(seconds)),
        ("memory of that, at most", format_bytes(most)),
    ]
    jobs = planned[: given.jobs]
    with ThreadPoolExecutor(2) as executor:
        each = swept(jobs, executor, 2, 0.0) / len(jobs)
    rows.append(("overhead of a job, in 2 threads", format_duration(each)))
    for processes, threads, pause in ((2, 1, 0.0), (1, 10, 0.5), (2, 50, 0.5)):
        slots = processes * threads
        with (
            LocalCluster(
                n_workers=processes, threads_per_worker=threads, dashboard_address=None
            ) as cluster,
            Client(cluster) as client,
            client.get_executor(pure=False) as executor,
        ):
            swept(jobs[:slots], executor, slots, 0.0)  # imports edgeconv in the workers
            processor = time.process_time()
            wall = swept(jobs, executor, 2 * slots, pause)  # as the command sends them
            processor = time.process_time() - processor
        if pause:
            ideal = len(jobs) * pause / slots
            what = f"{len(jobs)} jobs of {pause} s on {slots} Dask workers (ideal: {ideal:.1f} s)"
            rows.append((what, format_duration(wall)))
        else:
            each, of_us = wall / len(jobs), processor / len(jobs)
            rows.append((f"overhead of a job, on {slots} Dask workers", format_duration(each)))
            what = "processor time of that in the sweep itself, with Dask's scheduler"
            rows.append((what, format_duration(of_us)))
    publish(
        "sweep_overhead",
        [
            "# What a sweep adds to its jobs",
            "",
            machine("edgeconv", "dask", "distributed"),
            "",
            *markdown_table(("what", "figure"), rows),
        ],
    )


def planning(count: int) -> tuple[list[ExportJob], float, int]:
    plan = Plan(model=(Models(name=("resnet8",), args={"seed": tuple(range(count))}),))
    start = time.perf_counter()
    planned = candidates(plan)
    seconds = time.perf_counter() - start
    tracemalloc.start()
    candidates(plan)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return planned, seconds, most


def swept(jobs: list[ExportJob], executor: Executor, slots: int, seconds: float) -> float:
    """Run the jobs, and return the wall seconds."""
    plan = Plan(model=(Models(name=("resnet8",)),))
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        start = time.perf_counter()
        Driver(plan, cache, Sleeping(executor, cache, slots, seconds=seconds)).run(jobs)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
