"""Several models at the same time on one device: what each costs the others.

Every file is measured in processes of its own, by turns alone and while all other files run without
a pause. The others begin before the measured process does and end after it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, computed_field, model_validator

from edgeconv import __version__
from edgeconv.bench import statistics
from edgeconv.bench.check import check_models, naming
from edgeconv.bench.interference import disturbances
from edgeconv.bench.process_events import Answer
from edgeconv.bench.protocol import (
    LEASE_SECONDS,
    LOAD_SECONDS,
    check_files,
    deadline,
    request_for,
)
from edgeconv.bench.result import BenchOptions, Interval, ModelFile, ProcessRun
from edgeconv.device import Device, RunRequest
from edgeconv.device.messages import Machine, Samples
from edgeconv.errors import EdgeconvError, MeasurementError, UsageError
from edgeconv.progress import Progress, no_progress
from edgeconv.versioned import Record, Versioned

NOTICE_SECONDS = 0.2  # how soon a process that runs beside another sees that it may end


class TogetherModel(Record):
    """One file. The processes of a repetition, alone and beside the others, are a pair."""

    file: ModelFile
    alone: tuple[ProcessRun, ...] = Field(min_length=1)
    together: tuple[ProcessRun, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _without_figures(cls, data: Any) -> Any:
        """Figures are computed from the samples, whatever a file says."""
        if isinstance(data, dict):
            return {
                n: v for n, v in data.items() if n not in ("alone_ns", "together_ns", "slowdown")
            }
        return data

    @model_validator(mode="after")
    def _paired(self) -> TogetherModel:
        if len(self.alone) != len(self.together):
            raise ValueError("processes without a partner")
        return self

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @cached_property
    def alone_ns(self) -> Interval:
        """The median while nothing else runs."""
        return Interval.of(statistics.level(_samples(self.alone)))

    @computed_field  # type: ignore[prop-decorator]
    @cached_property
    def together_ns(self) -> Interval:
        """The median while the other files run."""
        return Interval.of(statistics.level(_samples(self.together)))

    @computed_field  # type: ignore[prop-decorator]
    @cached_property
    def slowdown(self) -> Interval:
        """How many times as long an inference takes while the other files run."""
        sides = _samples(self.together), _samples(self.alone)
        return Interval.of(statistics.ratio(*sides, paired=True))


class TogetherResult(Versioned):
    """Everything that one session measured."""

    WHAT = "a result of edgeconv bench --together"
    REDO = "measure again"
    ERROR = MeasurementError

    schema_version: int = 1
    kind: Literal["together"] = "together"
    edgeconv_version: str
    started: datetime
    device: str
    machine: Machine
    options: BenchOptions
    models: tuple[TogetherModel, ...] = Field(min_length=2)
    warnings: tuple[str, ...]


def measure_together(
    models: Sequence[Path],
    options: BenchOptions,
    device: Device,
    progress: Progress = no_progress,
) -> TogetherResult:
    """Measure every model alone and while all others run, in ``options.repetitions`` pairs.

    Raises:
        UsageError: There are not two files, one cannot be measured, or the inputs do not fit.
        MeasurementError: A model could not be measured, or ended while another was measured.
    """
    check_files(models, options)
    if len(models) < 2:
        raise UsageError("--together runs several files at once", hint="name two files or more")
    started = datetime.now(timezone.utc).replace(microsecond=0)
    with device.lock(2 * deadline(options) + LEASE_SECONDS) as lock:
        requests = [request_for(path, options.sweep[0], options, device) for path in models]
        check_models(models, requests, options.inputs, device)
        alone: list[list[ProcessRun]] = [[] for _ in models]
        beside: list[list[ProcessRun]] = [[] for _ in models]
        for repetition in range(options.repetitions):
            for index, path in enumerate(models):
                others = [r for place, r in enumerate(requests) if place != index]
                order = repetition * len(models) + index
                progress(f"Measuring {path.name}", order, options.repetitions * len(models))
                sides = [(alone[index], []), (beside[index], others)]
                for second, (runs, running) in enumerate(sides[:: -1 if repetition % 2 else 1]):
                    lock.renew()
                    with naming(path), _running(running, options, device):
                        machine, run = _measured(
                            requests[index], device, repetition, 2 * order + second
                        )
                    runs.append(run)
    return TogetherResult(
        edgeconv_version=__version__,
        started=started,
        device=device.name,
        machine=machine,
        options=options,
        models=tuple(
            TogetherModel(file=ModelFile.of(path), alone=tuple(a), together=tuple(b))
            for path, a, b in zip(models, alone, beside, strict=True)
        ),
        warnings=_warnings(models, alone, machine, len(models) * options.sweep[0]),
    )


def _measured(
    request: RunRequest, device: Device, repetition: int, order: int
) -> tuple[Machine, ProcessRun]:
    answer = Answer()
    with closing(device.run(request)) as events:
        for event in events:
            answer.take(event)
    return answer.process(repetition, order)


@contextmanager
def _running(
    requests: Sequence[RunRequest], options: BenchOptions, device: Device
) -> Iterator[None]:
    """Run models without a pause, from before the block until after it.

    Raises:
        MeasurementError: One ended earlier.
    """
    seconds = float(deadline(options))
    endless = {"min_seconds": seconds, "max_seconds": seconds, "warmup_seconds": 0.0}
    endless |= {"warmup_runs": 0, "reading_seconds": NOTICE_SECONDS}
    endless |= {"deadline_seconds": deadline(options) + LOAD_SECONDS}
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


def _samples(runs: Sequence[ProcessRun]) -> list[tuple[int, ...]]:
    return [run.samples_ns for run in runs]


def _warnings(
    models: Sequence[Path], alone: Sequence[Sequence[ProcessRun]], machine: Machine, threads: int
) -> tuple[str, ...]:
    """What disturbed the processes that ran alone; beside others, others use the processor."""
    found = []
    for path, runs in zip(models, alone, strict=True):
        reasons = dict.fromkeys(reason for run in runs for reason in disturbances(run))
        found += [f"{path.name} alone: {reason}: distrust its figures" for reason in reasons]
    cores = machine.cores_allowed
    if threads > cores:
        cpus = "one CPU" if cores == 1 else f"{cores} CPUs"
        found.append(f"together they share {cpus} among {threads} threads")
    return tuple(found)
