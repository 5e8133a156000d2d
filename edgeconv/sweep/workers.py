"""What carries out jobs: threads of this process, a local Dask cluster, or any Dask cluster."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeconv.device.dispatch import Failure
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.log_lines import take_warning
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.contents import tools
from edgeconv.sweep.jobs import Job
from edgeconv.sweep.software import software_of
from edgeconv.sweep.work import run_job

CONNECT_SECONDS = 30
_INSTALL = "install it with: pip install 'edgeconv[sweep]'"


@dataclass(frozen=True)
class Workers:
    """What carries out jobs at the same time, behind an executor of Python's own kind.

    Attributes:
        executor: Runs them.
        cache: Where results are; all workers see it at the same path.
        slots: How many jobs are under way at the same time.
        shared: Whether they are this machine's, whose own latencies can be measured.
        boards: Executors for the boards that only some workers reach.
    """

    executor: Executor
    cache: Cache
    slots: int
    shared: bool = True
    boards: dict[str, Executor] = field(default_factory=dict)

    def submit(self, job: Job, board: str | None) -> Future[Failure | None]:
        """Carry out a job; ``board`` is the name of the board that it is for, if any."""
        executor = self.executor if board is None else self.boards.get(board, self.executor)
        return executor.submit(run_job, job, self.cache)

    def probe(self, board: str, address: str) -> Future[str]:
        """Ask a board, by its name and its address, for what runs files there."""
        return self.boards.get(board, self.executor).submit(software_of, address)


@contextmanager
def open_workers(cache: Cache, *, scheduler: str | None, count: int | None) -> Iterator[Workers]:
    """Start workers, and end them with the block.

    Args:
        cache: Where results are.
        scheduler: The address of a Dask cluster; None is this machine.
        count: How many processes on this machine; 0 is threads of this process. None is one for
            each core where Dask is installed, and threads otherwise.

    Raises:
        UsageError: Dask is not installed, or the cluster does not answer or lacks the cache.
        EdgeconvError: No process can be started here.
    """
    installed = importlib.util.find_spec("distributed") is not None
    if (scheduler or count) and not installed:
        raise UsageError("a sweep in several processes needs Dask", hint=_INSTALL)
    if scheduler is None and (count == 0 or not installed):
        with _threads(cache, _cores()) as workers:
            yield workers
    else:
        with _dask(cache, scheduler, count or _cores()) as workers:
            yield workers


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@contextmanager
def _threads(cache: Cache, count: int) -> Iterator[Workers]:
    executor = ThreadPoolExecutor(count)
    try:
        yield Workers(executor, cache, count)
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def _dask(cache: Cache, scheduler: str | None, count: int) -> Iterator[Workers]:
    from distributed import Client

    class BoundedClient(Client):
        """Waits so long for a scheduler and no longer: Dask's handshake itself has no limit."""

        def start(self, **kwargs: Any) -> None:
            try:
                super().start(callback_timeout=CONNECT_SECONDS, **kwargs)  # type: ignore[no-untyped-call]
            except TimeoutError:
                self.close(timeout=1)  # type: ignore[no-untyped-call]
                raise

    for name in ("distributed", "tornado"):  # a lost worker is our own message
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is None:
        with (
            _local_cluster(count) as cluster,
            Client(cluster) as client,  # type: ignore[no-untyped-call]
            _all_warnings(client),
        ):
            yield _of_client(client, cache, shared=True)
        return
    try:
        client = BoundedClient(scheduler, timeout=CONNECT_SECONDS)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {scheduler}",
            hint="start one with `dask scheduler`, and workers with `dask worker ADDRESS`",
        ) from error
    with client, _all_warnings(client):
        yield _of_client(client, cache, shared=False)


def _local_cluster(count: int) -> Any:
    """Worker processes on this machine."""
    from distributed import LocalCluster

    try:
        return LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=count,
            threads_per_worker=1,
            memory_limit=None,
            dashboard_address=None,
            # Without a dashboard, too, the scheduler has an HTTP server; of its usual port, which
            # another sweep may have, Dask would warn.
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.CRITICAL,
        )
    except (OSError, RuntimeError) as error:  # no room in /dev/shm or the temporary folder
        raise EdgeconvError(
            "worker processes cannot be started on this machine",
            hint="make room in /dev/shm and the folder for temporary files, or pass "
            "--workers 0, which works in threads",
        ) from error


@contextmanager
def _all_warnings(client: Any) -> Iterator[None]:
    """Show what the workers warn of; it arrives before the jobs end that warned."""
    from edgeconv.sweep.worker_plugin import WARNINGS

    client.subscribe_topic(WARNINGS, lambda event: take_warning(event[1]))
    yield
    client.sync(asyncio.sleep, 0)  # the client's thread has it, and may not have shown it yet


def _of_client(client: Any, cache: Cache, *, shared: bool) -> Workers:
    from edgeconv.sweep.worker_plugin import WorkerOfSweep

    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise UsageError(
            f"the Dask cluster at {client.scheduler.address} has no workers",
            hint=f"start some with `dask worker {client.scheduler.address}`",
        )
    if not shared:
        _check_workers(client, cache)
    client.register_plugin(WorkerOfSweep(own=shared))
    offered = {name for worker in workers.values() for name in worker["resources"]}
    boards = {
        name.removeprefix("board:"): client.get_executor(pure=False, resources={name: 1})
        for name in offered
        if name.startswith("board:")
    }
    # Twice as many jobs as threads, so that no worker waits for its next one.
    slots = 2 * sum(worker["nthreads"] for worker in workers.values())
    return Workers(client.get_executor(pure=False), cache, slots, shared, boards)


def _check_workers(client: Any, cache: Cache) -> None:
    """Refuse workers that do not see the cache, or compute with other versions.

    Raises:
        EdgeconvError: Some are so.
    """
    probe = uuid.uuid4().hex  # of no other sweep, which would remove it
    with cache.writing("probe", probe):
        pass
    try:
        answers = client.run(_seen, cache.folder / "probe" / probe, on_error="return")
    finally:
        cache.drop("probe", probe)
    for address, answer in answers.items():
        if answer != (True, tools()):
            why = (
                f"has no edgeconv that answers ({answer})"
                if not isinstance(answer, tuple)
                else f"does not see the cache {cache.folder}"
                if not answer[0]
                else "has another edgeconv, or other versions of what it computes with"
            )
            raise EdgeconvError(
                f"the Dask worker {address} {why}",
                hint="give all workers the same environment and, with --cache, a shared folder",
            )


def _seen(path: Path) -> tuple[bool, str]:
    return path.is_dir(), tools()
