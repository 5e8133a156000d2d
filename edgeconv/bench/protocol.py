"""The order in which models are measured, and the assembly of what comes back.

Every (model, repetition) is a process of its own. Repetitions go forth and back through the
models (A B C, C B A, …), so that a drift of the machine adds as much to one as to another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edgeconv import __version__
from edgeconv.bench.disturbance import warnings
from edgeconv.bench.result import (
    BenchOptions,
    BenchResult,
    ModelFile,
    ModelResult,
    ProcessRun,
    summarize,
)
from edgeconv.device import Device, RunRequest
from edgeconv.device.messages import (
    Done,
    Event,
    First,
    Load,
    Machine,
    Outputs,
    Samples,
    Start,
    Warmup,
)
from edgeconv.errors import MeasurementError, UsageError

WARMUP_RUNS = 3
WARMUP_LIMIT = 5  # the runner's: an unstable warm-up ends after so many times its time
LOAD_SECONDS = 300  # for loading, and for the inferences that begin in time and end late


@dataclass(frozen=True)
class Step:
    """A place in the schedule."""

    order: int
    repetition: int
    model: int


@dataclass(frozen=True)
class Progress:
    """Told before each process: its number from 0, the number of all, and the file."""

    index: int
    total: int
    file: Path


def schedule(models: int, repetitions: int) -> Iterator[Step]:
    """Forth in even repetitions, back in odd ones."""
    order = 0
    for repetition in range(repetitions):
        forth = range(models)
        for model in forth if repetition % 2 == 0 else reversed(forth):
            yield Step(order, repetition, model)
            order += 1


def measure(
    models: Sequence[Path],
    options: BenchOptions,
    device: Device,
    progress: Callable[[Progress], None] | None = None,
) -> BenchResult:
    """Measure every model in ``options.repetitions`` processes.

    Raises:
        UsageError: no file, a file twice, one that is missing or that the runtime does not read.
        MeasurementError: a model could not be measured.
    """
    check_files(models, options)
    started = datetime.now(timezone.utc).replace(microsecond=0)
    files = [ModelFile.of(path) for path in models]
    requests = [_request(path, options, device) for path in models]
    runs: list[list[ProcessRun]] = [[] for _ in models]
    machine: Machine | None = None
    for step in schedule(len(models), options.repetitions):
        if progress is not None:
            progress(Progress(step.order, len(models) * options.repetitions, models[step.model]))
        try:
            with closing(device.run(requests[step.model])) as events:
                machine, run = _collect(events, step)
        except MeasurementError as error:
            raise MeasurementError(f"{models[step.model]} on {error}") from error
        runs[step.model].append(run)
    assert machine is not None
    results = tuple(
        ModelResult(file=file, processes=tuple(r), summary=summarize(tuple(r), options.seed))
        for file, r in zip(files, runs, strict=True)
    )
    return BenchResult(
        edgeconv_version=__version__,
        started=started,
        device=device.name,
        machine=machine,
        options=options,
        models=results,
        warnings=warnings(results, machine.governor),
    )


def check_files(models: Sequence[Path], options: BenchOptions) -> None:
    """Refuse, before anything slow, what cannot be measured.

    Raises:
        UsageError: no file, a file twice, one that is missing or that the runtime does not read.
        MeasurementError: a file is damaged.
    """
    if not models:
        raise UsageError("nothing to measure: name at least one .onnx or .tflite file")
    for index, path in enumerate(models):
        if path in models[:index]:
            raise UsageError(f"{path} is named twice; name each file once")
        if not path.is_file():
            raise UsageError(f"{path}: no such file or bundle")
        if path.suffix not in (".onnx", ".tflite"):
            raise UsageError(f"{path} is neither an .onnx nor a .tflite file")
        if options.runtime is not None and path.suffix != options.runtime.suffix:
            raise UsageError(
                f"{options.runtime.value} reads {options.runtime.suffix} files, not {path}; "
                "leave --runtime out or name other files"
            )
        with path.open("rb") as file:
            head = file.read(8)
        # LiteRT gives a damaged file's name for any reason; this one is worth its own words.
        if path.suffix == ".tflite" and head[4:] != b"TFL3":
            raise MeasurementError(f"{path} is not a TFLite file: its identifier is not TFL3")
    if options.inputs is not None and not options.inputs.is_file():
        raise UsageError(f"{options.inputs} does not exist or is not a file")


def _request(path: Path, options: BenchOptions, device: Device) -> RunRequest:
    most = LOAD_SECONDS + WARMUP_LIMIT * options.warmup + 2 * options.max_seconds
    return RunRequest(
        model=device.place(path),
        runtime=options.runtime,
        threads=options.threads,
        affinity=options.affinity,
        warmup_seconds=options.warmup,
        warmup_runs=WARMUP_RUNS if options.warmup else 0,
        min_runs=options.runs,
        min_seconds=options.seconds,
        max_seconds=options.max_seconds,
        deadline_seconds=math.ceil(most),
        seed=options.seed,
        inputs=device.place(options.inputs) if options.inputs else None,
    )


def _collect(events: Iterator[Event], step: Step) -> tuple[Machine, ProcessRun]:
    """Put one process's events together."""
    start: Start | None = None
    load: Load | None = None
    first: First | None = None
    outputs: Outputs | None = None
    warmup: Warmup | None = None
    done: Done | None = None
    samples: list[int] = []
    for event in events:
        if isinstance(event, Start):
            start = event
        elif isinstance(event, Load):
            load = event
        elif isinstance(event, First):
            first = event
        elif isinstance(event, Outputs):
            outputs = event
        elif isinstance(event, Warmup):
            warmup = event
        elif isinstance(event, Samples):
            samples.extend(event.ns)
        elif isinstance(event, Done):
            done = event
    if not (start and load and first and outputs and warmup and done and samples):
        raise MeasurementError("the device: the runner left out a part of its answer")
    return start.machine, ProcessRun(
        repetition=step.repetition,
        order=step.order,
        runtime=start.runtime,
        runtime_version=start.runtime_version,
        python=start.python,
        numpy=start.numpy,
        load_ns=load.ns,
        first_ns=first.ns,
        warmup_runs=warmup.runs,
        warmup_ns=warmup.ns,
        warmup_stable=warmup.stable,
        samples_ns=tuple(samples),
        elapsed_ns=done.ns,
        complete=done.complete,
        before=warmup.conditions,
        after=done.conditions,
        outputs=tuple(o.model_copy(update={"base64": None}) for o in outputs.outputs),
    )
