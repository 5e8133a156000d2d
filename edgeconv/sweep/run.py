"""A sweep in one call."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from edgeconv.progress import Progress, no_progress
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.candidates import candidates
from edgeconv.sweep.chain_row import marked_chains
from edgeconv.sweep.chain_rows import chain_rows
from edgeconv.sweep.driver import Driver
from edgeconv.sweep.plan import Plan
from edgeconv.sweep.result import Limits, SweepResult, marked, rows_of
from edgeconv.sweep.workers import open_workers

# The times of files come from a coarser clock, which is some milliseconds behind.
_COARSE_SECONDS = 1.0


def sweep(
    plan: Plan,
    cache: Cache,
    progress: Progress = no_progress,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
) -> SweepResult:
    """Carry out a plan, as far as its results are not in the cache.

    Args:
        plan: What to try and to ask.
        cache: Where results are and go to.
        progress: Called when a job ends.
        scheduler: The address of a Dask cluster; None is this machine.
        workers: How many processes on this machine; see ``open_workers``.

    Raises:
        UsageError: The plan names what is not there, or the workers cannot be had.
    """
    started = datetime.now(timezone.utc).replace(microsecond=0)
    now, begun = time.time(), time.monotonic()
    exports = candidates(plan)
    cache.remove_abandoned()
    with open_workers(cache, scheduler=scheduler, count=workers) as opened:
        done = Driver(plan, cache, opened, progress).run(exports)
    rows = marked(tuple(rows_of(done, cache)))
    chains = marked_chains(tuple(chain_rows(done, plan, cache)))
    # Where the clock was set back meanwhile, what this sweep used has times before its start.
    start = min(now, time.time() - (time.monotonic() - begun))
    cache.prune(before=start - _COARSE_SECONDS)
    return SweepResult(started=started, limits=Limits.of(plan.question), rows=rows, chains=chains)
