"""Several models at the same time on one device: what each costs the others.

Every file is measured in processes of its own, by turns alone and while all other files run without
a pause. The others begin before the measured process does and end after it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, computed_field, model_validator

from edgeconv import __version__
from edgeconv.bench import statistics
from edgeconv.bench.check import check_models, naming
from edgeconv.bench.interference import (
    disturbances,
    disturbances_beside,
    stayed_disturbed,
    warnings,
)
from edgeconv.bench.journal import Journal, Kind, Measures
from edgeconv.bench.processes import COOLING_SECONDS, Step, measure_process, runs_of
from edgeconv.bench.protocol import (
    LEASE_SECONDS,
    LOAD_SECONDS,
    deadline,
    new_session,
    request_for,
)
from edgeconv.bench.result import (
    EACH_FILE_ONCE,
    BenchOptions,
    Interval,
    ModelFile,
    ModelResult,
    ProcessRun,
    SetAside,
    paired,
)
from edgeconv.computed import Computed, without_older_figures
from edgeconv.device import Device, Lock, RunRequest
from edgeconv.device.messages import Machine, Samples
from edgeconv.errors import EdgeconvError, MeasurementError, UsageError
from edgeconv.progress import Progress, no_progress
from edgeconv.versioned import Versioned

NOTICE_SECONDS = 0.2  # how soon a process that runs beside another sees that it may end
MEASURES = Measures(kind=Kind.TOGETHER)


class TogetherModel(Computed):
    """One file. The processes of a repetition, alone and beside the others, are a pair."""

    file: ModelFile
    alone: tuple[ProcessRun, ...] = Field(min_length=1)
    together: tuple[ProcessRun, ...] = Field(min_length=1)

    def check_parts(self) -> None:
        """See that every process has a partner."""
        if len(self.alone) != len(self.together):
            raise ValueError("processes without a partner")

    @cached_property
    def sides(self) -> tuple[ModelResult, ModelResult]:
        """Its processes alone and beside the others, each as those of a file."""
        alone, beside = (
            ModelResult(file=self.file, processes=runs) for runs in (self.alone, self.together)
        )
        return alone, beside

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @cached_property
    def alone_ns(self) -> Interval:
        """The median while nothing else runs."""
        return self.sides[0].summary.median

    @computed_field  # type: ignore[prop-decorator]
    @cached_property
    def together_ns(self) -> Interval:
        """The median while the other files run."""
        return self.sides[1].summary.median

    @computed_field  # type: ignore[prop-decorator]
    @cached_property
    def slowdown(self) -> Interval:
        """How many times as long an inference takes while the other files run."""
        runs = paired(self.together, self.alone) or (self.together, self.alone)
        beside, alone = ([run.samples_ns for run in side] for side in runs)
        return Interval.of(statistics.ratio(beside, alone, paired=True))


class TogetherResult(Versioned):
    """Everything that one session measured."""

    WHAT = "a result of edgeconv bench --together"
    REDO = "measure again"
    ERROR = MeasurementError
    OLDER = (1,)

    schema_version: int = 2  # 1 repeated no process that was disturbed
    kind: Literal["together"] = "together"
    edgeconv_version: str
    started: datetime
    device: str
    machine: Machine
    options: BenchOptions
    models: Annotated[tuple[TogetherModel, ...], EACH_FILE_ONCE] = Field(min_length=2)
    warnings: tuple[str, ...]
    set_aside: tuple[SetAside, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _figures_of_older(cls, fields: Any) -> Any:
        return without_older_figures(fields, cls.OLDER, TogetherModel)


def measure_together(
    models: Sequence[Path],
    options: BenchOptions,
    device: Device,
    progress: Progress = no_progress,
    *,
    journal: Journal | None = None,
) -> TogetherResult:
    """Measure every model alone and while all others run, in ``options.repetitions`` pairs.

    Args:
        models: The files, all of which must run.
        options: How to measure.
        device: Where to measure.
        progress: Called before every pair of processes.
        journal: Has the processes that were measured before, and gets every further one.

    Raises:
        UsageError: There are not two files, one cannot be measured, the inputs do not fit, or the
            journal is of another measurement.
        MeasurementError: A model could not be measured, or ended while another was measured.
    """
    session = new_session(models, options, device.name, measures=MEASURES)
    if len(models) < 2:
        raise UsageError("--together runs several files at once", hint="name two files or more")
    if journal is None:
        journal = Journal(session)
    journal.check_same(session)
    with device.lock(_endless_seconds(options) + LEASE_SECONDS) as lock:
        requests = [request_for(path, options.sweep[0], options, device) for path in models]
        check_models(models, requests, options.inputs, device)
        for repetition in range(options.repetitions):
            for index, path in enumerate(models):
                place = repetition * len(models) + index
                progress(f"Measuring {path.name}", place, options.repetitions * len(models))
                with naming(path):
                    _measure_pair(requests, index, repetition, device, lock, journal)
    return _result(journal)


def _measure_pair(
    requests: Sequence[RunRequest],
    index: int,
    repetition: int,
    device: Device,
    lock: Lock,
    journal: Journal,
) -> None:
    """Measure a file alone and beside the others, in turns which comes first."""
    others = [request for place, request in enumerate(requests) if place != index]
    sides = [(2 * index, [], disturbances), (2 * index + 1, others, disturbances_beside)]
    done = {entry.run.order for entry in journal.finished}
    first = 2 * (repetition * len(requests) + index)
    for order, (row, running, reasons) in enumerate(sides[:: -1 if repetition % 2 else 1], first):
        if order in done:
            continue
        step = Step(order, repetition, row)
        with _running(running, journal.session.options, device):
            measure_process(requests[index], step, device, lock, journal, reasons)


def _result(journal: Journal) -> TogetherResult:
    session = journal.session
    models = tuple(
        TogetherModel(
            file=file,
            alone=runs_of(journal, 2 * index),
            together=runs_of(journal, 2 * index + 1),
        )
        for index, file in enumerate(session.files)
    )
    machine = journal.finished[-1].machine
    return TogetherResult(
        edgeconv_version=__version__,
        started=session.started,
        device=session.device,
        machine=machine,
        options=session.options,
        models=models,
        warnings=_warnings(models, machine, journal),
        set_aside=tuple(journal.set_aside),
    )


def _endless_seconds(options: BenchOptions) -> int:
    """As long as a process may take that is measured beside others, with its repetitions."""
    attempts = options.retries + 1
    return attempts * deadline(options) + options.retries * round(COOLING_SECONDS) + LOAD_SECONDS


@contextmanager
def _running(
    requests: Sequence[RunRequest], options: BenchOptions, device: Device
) -> Iterator[None]:
    """Run models without a pause, from before the block until after it.

    Raises:
        MeasurementError: One ended earlier.
    """
    seconds = _endless_seconds(options)
    endless = {"min_seconds": float(seconds), "max_seconds": float(seconds), "warmup_seconds": 0.0}
    endless |= {"warmup_runs": 0, "reading_seconds": NOTICE_SECONDS}
    endless |= {"deadline_seconds": seconds + LOAD_SECONDS}
    with ExitStack() as stack:
        runs = [_EndlessRun(r.model_copy(update=endless), device) for r in requests]
        for run in runs:
            stack.enter_context(run)
        for run in runs:
            run.wait()
        yield
        for run in runs:
            run.demand_alive()


class _EndlessRun:
    """A model that runs in a thread of ours until the block is left."""

    def __init__(self, request: RunRequest, device: Device) -> None:
        self._request = request
        self._device = device
        self._begun = threading.Event()
        self._enough = threading.Event()
        self._error: EdgeconvError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _EndlessRun:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._enough.set()
        self._thread.join()

    def wait(self) -> None:
        """Wait until it infers."""
        self._begun.wait()
        self.demand_alive()

    def demand_alive(self) -> None:
        """Raise MeasurementError if it does not run any more."""
        if not self._thread.is_alive() or self._error is not None:
            why = self._error.message if self._error else "it ended before the other"
            raise MeasurementError(f"{self._device.name}: {why}, while several models ran")

    def _run(self) -> None:
        try:
            with closing(self._device.run(self._request)) as events:
                for event in events:
                    if isinstance(event, Samples):
                        self._begun.set()
                    if self._enough.is_set():
                        return
        except EdgeconvError as error:
            self._error = error
        finally:
            self._begun.set()


def _warnings(
    models: Sequence[TogetherModel], machine: Machine, journal: Journal
) -> tuple[str, ...]:
    """What disturbed the processes; beside the others, those use the processor."""
    options = journal.session.options
    alone, beside = zip(*(model.sides for model in models), strict=True)
    found = [
        *warnings(alone, machine, options, journal.set_aside),
        *(f"beside the others: {warning}" for warning in stayed_disturbed(beside)),
    ]
    cores, threads = machine.cores_allowed, len(models) * options.sweep[0]
    if threads > cores:
        cpus = "one CPU" if cores == 1 else f"{cores} CPUs"
        found.append(f"together they share {cpus} among {threads} threads")
    return tuple(found)
