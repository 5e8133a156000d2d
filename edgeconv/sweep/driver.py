"""The order of the jobs: what is done is not done again, and a failure stops no other job."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field, replace

from edgeconv.bundle import Bundle
from edgeconv.device.boards import Board, Pool
from edgeconv.device.dispatch import LOOK_SECONDS, Dispatcher, Failure, Measurement
from edgeconv.errors import EdgeconvError, UsageError, first_line
from edgeconv.progress import Progress, no_progress
from edgeconv.sweep import software
from edgeconv.sweep.boards import boards_of
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.chains import Chains
from edgeconv.sweep.contents import content_of, content_of_data
from edgeconv.sweep.jobs import CountJob, ExitJob, ExportJob, Job, MeasureJob, ScoreJob
from edgeconv.sweep.plan import Plan
from edgeconv.sweep.reference import Reference
from edgeconv.sweep.work import bundle_of, is_done
from edgeconv.sweep.workers import Workers


@dataclass
class Candidate:
    """An export and what follows from it.

    Attributes:
        job: The export.
        key: Its key.
        jobs: What was asked about its bundle, by what the rows call it.
        exits: What was asked about its chain, once this last stage was exported.
        failures: Why jobs have no result, by their keys.
        parts_left: The keys of parts of the calibration that are not done yet.
        shards_left: The keys of parts of the evaluation that are not counted yet.
        foreseen: How many jobs are still to follow from those that are wanted.
    """

    job: ExportJob
    key: str
    measured: dict[str, MeasureJob] = field(default_factory=dict)
    counted: dict[str, CountJob] = field(default_factory=dict)
    scored: ScoreJob | None = None
    exits: list[ExitJob] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    parts_left: set[str] = field(default_factory=set)
    shards_left: set[str] = field(default_factory=set)
    foreseen: int = 0


@dataclass(frozen=True)
class Asked:
    """A measurement of a candidate; its device is that of the board that it runs on."""

    candidate: Candidate
    job: MeasureJob

    def on(self, board: Board) -> MeasureJob:
        """The job on one board."""
        return self.job.model_copy(update={"device": board.address, "software": board.software})


@dataclass(frozen=True)
class _Running:
    candidate: Candidate
    job: Job
    measurement: Measurement[Asked] | None = None
    board: Board | None = None


class Driver:
    """Carries out a plan.

    Args:
        plan: The plan.
        cache: Where results are and go to.
        workers: What carries out jobs.
        progress: Called when a job ends.
        clock: Gives the time in seconds.

    Raises:
        UsageError: There is no such device or data, or this machine's own latencies cannot be
            measured by these workers.
    """

    def __init__(
        self,
        plan: Plan,
        cache: Cache,
        workers: Workers,
        progress: Progress = no_progress,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._cache, self._workers = plan, cache, workers
        self._progress = progress
        self._pools = [] if plan.measure is None else boards_of(plan.measure)
        self._boards = Dispatcher[Asked](plan.measure.wait if plan.measure else 0.0, clock)
        self._references: dict[str, tuple[Measurement[Asked], Reference]] = {}
        if not workers.shared and any(b.is_here for p in self._pools for b in p.boards):
            raise UsageError(
                "measure.devices: local is another machine on every worker of a cluster",
                hint="name a board",
            )
        self._data = _contents(plan)
        self._ready: deque[tuple[Candidate, Job]] = deque()
        self._running: dict[Future[Failure | None], _Running] = {}
        self._done = self._wanted = 0
        self._candidates: list[Candidate] = []

    def run(self, exports: Sequence[ExportJob]) -> list[Candidate]:
        """Carry out everything, and say what became of it."""
        self._ask_boards()
        candidates = [Candidate(job, job.key()) for job in exports]
        self._chains = Chains(self._plan, exports, self._data)
        self._candidates = candidates
        first = [(candidate, job) for candidate in candidates for job in self._first(candidate)]
        for candidate, job in first:
            self._want(candidate, job)
        try:
            while self._ready or self._boards or self._running:
                self._start()
                for future in self._ended():
                    self._take(self._running.pop(future), _outcome(future))
        finally:
            for future in self._running:
                future.cancel()
        return candidates

    def _ask_boards(self) -> None:
        """Ask all boards at once for what runs files there."""
        boards = {board.address: board for pool in self._pools for board in pool.boards}
        asked = [
            (board, self._workers.probe(board.name, board.address)) for board in boards.values()
        ]
        for board, future in asked:
            board.software = software.known(board.name, board.address, future, self._cache)

    def _first(self, candidate: Candidate) -> Sequence[Job]:
        """The export, or the parts of its calibration; all that is to follow is foreseen."""
        parts = [] if is_done(candidate.job, self._cache) else candidate.job.parts()
        candidate.parts_left = {part.key() for part in parts}
        candidate.foreseen = len(parts) + 1 + self._jobs_about(candidate.job)
        return parts or [candidate.job]

    def _jobs_about(self, job: ExportJob) -> int:
        """How many jobs ask about a bundle."""
        plan = self._plan
        counts = 0 if plan.count is None else len(plan.count.devices)
        return counts + len(self._pools) + self._jobs_of_evaluation(job)

    def _jobs_of_evaluation(self, job: ExportJob) -> int:
        if self._plan.evaluate is None:
            return 0
        shards = self._plan.evaluate.shards
        if job.chain is None:
            return shards + 1  # and their sum
        return shards * self._chains.is_last(job)

    def _want(self, candidate: Candidate, job: Job) -> None:
        self._wanted += 1
        candidate.foreseen -= 1
        if is_done(job, self._cache):
            self._finished(candidate, job)
        else:
            self._ready.append((candidate, job))

    def _want_measured(self, measurement: Measurement[Asked]) -> None:
        self._wanted += 1
        measurement.what.candidate.foreseen -= 1
        if not self._is_measured(measurement):
            self._boards.add(measurement)

    def _is_measured(self, measurement: Measurement[Asked]) -> bool:
        """Whether the result of a board that agrees with its pool is there; take it then."""
        for board in measurement.pool.boards:
            if board.name in (measurement.pool.admitted or ()):
                job = measurement.what.on(board)
                if is_done(job, self._cache):
                    self._measured(measurement, job)
                    return True
        return False

    def _compare_boards(self, pool: Pool) -> None:
        """Have a measurement that waits made on every board of a pool.

        It is the one that most boards have made before, so that a sweep that goes on compares
        what the last one did.
        """
        if pool.admitted is not None or pool.name in self._references:
            return
        waiting = [each for each in self._boards.waiting if each.pool is pool]
        if not waiting:
            return

        def known(each: Measurement[Asked]) -> int:
            return sum(is_done(each.what.on(board), self._cache) for board in pool.boards)

        chosen = max(waiting, key=known)
        self._boards.keep(lambda each: each is not chosen)
        reference = Reference(pool)
        self._references[pool.name] = chosen, reference
        for board in pool.left(()):
            job = chosen.what.on(board)
            if is_done(job, self._cache):
                reference.measured[board.name] = job
            else:
                self._boards.add(replace(chosen, only=board))
        self._admit(pool)

    def _admit(self, pool: Pool) -> None:
        """Use the boards that agree, as soon as the others' results do not change that."""
        measurement, reference = self._references[pool.name]
        first = pool.admitted is None
        chosen = reference.admit(self._cache)
        if chosen is not None and first:
            self._measured(measurement, chosen)
            self._boards.keep(
                lambda each: (
                    each.pool is not pool or each.only is not None or not self._is_measured(each)
                )
            )
        elif chosen is None and reference.is_over:
            del self._references[pool.name]  # the next measurement may do better
            why = next(iter(reference.failed.values()), _no_board(pool))
            self._not_measured(measurement, measurement.what.job, why)

    def _start(self) -> None:
        """Start what can run now."""
        if any(each.board is not None and each.board.is_here for each in self._running.values()):
            return
        while self._ready and len(self._running) < self._workers.slots:
            candidate, job = self._ready.popleft()
            self._submit(_Running(candidate, job))
        for pool in self._pools:
            self._compare_boards(pool)
        for measurement in self._boards.without_board():
            self._gave_up(measurement, measurement.what.job, _no_board(measurement.pool))
        for measurement, board in self._boards.start(lambda: not self._running and not self._ready):
            asked = measurement.what
            self._submit(_Running(asked.candidate, asked.on(board), measurement, board))
            if board.is_here:
                break

    def _submit(self, running: _Running) -> None:
        board = None if running.board is None else running.board.name
        self._running[self._workers.submit(running.job, board)] = running

    def _ended(self) -> set[Future[Failure | None]]:
        if not self._running:
            if self._boards:
                time.sleep(LOOK_SECONDS)
            return set()
        timeout = LOOK_SECONDS if self._boards else None
        return wait(self._running, timeout, FIRST_COMPLETED).done

    def _take(self, running: _Running, failure: Failure | None) -> None:
        candidate, job = running.candidate, running.job
        if running.board is not None and running.measurement is not None:
            self._take_measured(running, running.measurement, running.board, failure)
        elif failure is None:
            self._finished(candidate, job)
        else:
            self._failed(candidate, job, failure)

    def _take_measured(
        self,
        running: _Running,
        measurement: Measurement[Asked],
        board: Board,
        failure: Failure | None,
    ) -> None:
        assert isinstance(running.job, MeasureJob)
        final = self._boards.ended(measurement, board, failure)
        if final is not None:
            self._gave_up(measurement, running.job, final)
        elif measurement.only is not None:  # measured, or in use by others
            if failure is None:
                self._references[measurement.pool.name][1].measured[board.name] = running.job
            self._admit(measurement.pool)
        elif failure is None:
            measurement.pool.set_aside(measurement.tried)
            self._measured(measurement, running.job)

    def _gave_up(self, measurement: Measurement[Asked], job: MeasureJob, failure: Failure) -> None:
        """No board measures it any more; ``failure`` is what the last one said."""
        if measurement.only is None:
            self._not_measured(measurement, job, failure)
        else:
            self._references[measurement.pool.name][1].failed[measurement.only.name] = failure
            self._admit(measurement.pool)

    def _measured(self, measurement: Measurement[Asked], job: MeasureJob) -> None:
        measurement.what.candidate.measured[measurement.pool.name] = job
        self._count()

    def _not_measured(
        self, measurement: Measurement[Asked], job: MeasureJob, failure: Failure
    ) -> None:
        measurement.what.candidate.measured[measurement.pool.name] = job
        self._failed(measurement.what.candidate, job, failure)

    def _failed(self, candidate: Candidate, job: Job, failure: Failure) -> None:
        candidate.failures[job.key()] = failure
        if job.kind == "calibrate":
            candidate.failures.setdefault(candidate.key, failure)
        if job.kind == "shard" and candidate.scored is not None:
            candidate.failures.setdefault(candidate.scored.key(), failure)
        if job.kind in ("calibrate", "export", "shard"):
            candidate.foreseen = 0  # nothing follows from these
        self._count()

    def _finished(self, candidate: Candidate, job: Job) -> None:
        self._count()
        if isinstance(job, ExportJob):
            bundle = bundle_of(candidate.key, self._cache)
            self._ask_about(candidate, bundle)
        elif job.kind == "calibrate":
            candidate.parts_left.discard(job.key())
            if not candidate.parts_left:
                self._want(candidate, candidate.job)
        elif job.kind == "shard":
            candidate.shards_left.discard(job.key())
            if not candidate.shards_left and candidate.scored is not None:
                self._want(candidate, candidate.scored)

    def _ask_about(self, candidate: Candidate, bundle: Bundle) -> None:
        """Want everything that the plan asks about a bundle."""
        plan = self._plan
        files = tuple(artifact.sha256 for artifact in bundle.manifest.artifacts)
        if plan.count is not None:
            for device in plan.count.devices:
                job = CountJob(bundle=candidate.key, files=files, device=device)
                candidate.counted[device] = job
                self._want(candidate, job)
        if candidate.job.chain is not None:
            candidate.exits = self._chains.exported(candidate.job, bundle)
            for part in candidate.exits:
                self._want(candidate, part)
        elif plan.evaluate is not None:
            # The manifest says how images become inputs, so it counts as well.
            whole = (content_of(bundle.path / "manifest.json"), *files)
            candidate.scored = ScoreJob(
                bundle=candidate.key,
                files=whole,
                data=plan.evaluate.data,
                truth=plan.evaluate.truth,
                task=plan.evaluate.task,
                contents=self._data,
                shards=plan.evaluate.shards,
            )
            self._evaluate(candidate, candidate.scored)
        if plan.measure is not None:
            for pool in self._pools:
                measure = MeasureJob(
                    bundle=candidate.key,
                    files=files,
                    device=pool.boards[0].address,
                    software=pool.boards[0].software,
                    options=plan.measure.options,
                )
                self._want_measured(Measurement(Asked(candidate, measure), pool))

    def _evaluate(self, candidate: Candidate, job: ScoreJob) -> None:
        if is_done(job, self._cache):
            self._wanted += self._jobs_of_evaluation(candidate.job)
            candidate.foreseen -= self._jobs_of_evaluation(candidate.job)
            self._count(self._jobs_of_evaluation(candidate.job))
            return
        parts = job.parts()
        candidate.shards_left = {part.key() for part in parts}
        for part in parts:
            self._want(candidate, part)

    def _count(self, jobs: int = 1) -> None:
        self._done += jobs
        foreseen = sum(candidate.foreseen for candidate in self._candidates)
        self._progress("Sweeping", self._done, self._wanted + foreseen)


def _contents(plan: Plan) -> tuple[str | None, ...]:
    """Hashes of the data that decides about accuracy."""
    if plan.evaluate is None:
        return ()
    truth, task = plan.evaluate.truth, plan.evaluate.task
    return (
        content_of(plan.evaluate.data),
        None if truth is None else content_of(truth),
        content_of_data(task.removeprefix("detection:")) if ".py:" in task else None,
    )


def _no_board(pool: Pool) -> Failure:
    return Failure(f"{pool.name} has no board left", "look at its boards")


def _outcome(future: Future[Failure | None]) -> Failure | None:
    """What a job came to; a worker that died says nothing itself.

    Raises:
        EdgeconvError: The scheduler is lost, and with it all jobs that it had.
    """
    try:
        return future.result()
    except CancelledError as error:  # only a lost scheduler cancels what the driver waits for
        raise EdgeconvError(
            "the Dask scheduler was lost while the sweep ran",
            hint="start it and its workers, and sweep again: what was finished stays",
        ) from error
    except EdgeconvError as error:
        return Failure(error.message, error.hint)
    except Exception as error:  # of Dask, or of the operating system
        return Failure(f"its worker failed: {type(error).__name__}: {first_line(error)}")
