"""The order in which models are measured, and the assembly of what comes back.

Every (model, repetition) is a process of its own, where a model is a file with a number of threads.
Repetitions go forth and back through the models (A B C, C B A, …), so that a drift of the machine
adds as much to one as to another.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import product
from pathlib import Path

from edgeconv import __version__
from edgeconv.bench.adaptive import answered
from edgeconv.bench.check import Checked, check_models, naming
from edgeconv.bench.clocks import fastest_clock, marked, slower_clock
from edgeconv.bench.inputs import channels_first, check_inputs, pixels
from edgeconv.bench.interference import (
    disturbances,
    overheated,
    throttled,
    warnings,
)
from edgeconv.bench.journal import Finished, Journal, Session
from edgeconv.bench.process_events import Answer, why_cut
from edgeconv.bench.result import (
    BenchOptions,
    BenchResult,
    LeftOut,
    ModelFile,
    ModelResult,
    ProcessRun,
    SetAside,
    labeled,
)
from edgeconv.bundle import sha256_of
from edgeconv.device import Device, Lock, RunRequest
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.printable import file_name
from edgeconv.progress import Progress, no_progress

WARMUP_RUNS = 3
WARMUP_LIMIT = 24  # the runner's: an unstable warm-up ends after so many times its time
LOAD_SECONDS = 300  # for loading, and for the inferences that begin in time and end late
LEASE_SECONDS = 900  # beyond a process: for sending files
READING_SECONDS = 0.5  # between two looks at the device's state while it measures
COOLING_SECONDS = 10.0  # before a process that a throttled board spoiled is repeated


@dataclass(frozen=True)
class Step:
    """A place in the schedule."""

    order: int
    repetition: int
    model: int


def round_of(models: Sequence[int], repetition: int) -> Iterator[Step]:
    """One process of every model: forth in even repetitions, back in odd ones."""
    for place, model in enumerate(models if repetition % 2 == 0 else reversed(models)):
        yield Step(repetition * len(models) + place, repetition, model)


def new_session(
    models: Sequence[Path], options: BenchOptions, device: str, out: Path | None = None
) -> Session:
    """What is about to be measured, with the files' hashes.

    Raises:
        UsageError: no file, a file twice, one that is missing or damaged or that the runtime does
            not read, or inputs that cannot be read.
    """
    check_files(models, options)
    return Session(
        edgeconv_version=__version__,
        started=datetime.now(timezone.utc).replace(microsecond=0),
        device=device,
        options=options,
        files=tuple(ModelFile.of(path) for path in models),
        paths=tuple(path.absolute() for path in models),
        inputs_sha256=sha256_of(options.inputs) if options.inputs else None,
        out=out and out.absolute(),
    )


def measure(
    models: Sequence[Path],
    options: BenchOptions,
    device: Device,
    progress: Progress = no_progress,
    *,
    journal: Journal | None = None,
    alone: bool = True,
    optional: Collection[Path] = (),
    operators: bool = False,
) -> BenchResult:
    """Measure every model in ``options.repetitions`` processes.

    Args:
        models: The files.
        options: How to measure.
        device: Where to measure.
        progress: Called before every process.
        journal: Has the processes that were measured before, and gets every further one.
        alone: Keep other harnesses off the device meanwhile.
        optional: Files that are left out if the device cannot run them.
        operators: Let every process profile its operators, too.

    Raises:
        UsageError: There is no file, a file is named twice, is missing, or is not read by the
            runtime; the inputs do not fit, the device lacks the CPUs, or the journal is of another
            measurement.
        MeasurementError: A model could not be measured, or computes something else on the device
            than here, or another harness uses the device.
    """
    session = new_session(models, options, device.name)
    if journal is None:
        journal = Journal(session)
    journal.check_same(session)
    lease = deadline(options) + LEASE_SECONDS
    with device.lock(lease) if alone else nullcontext() as lock:
        rows = list(product(models, options.sweep))
        requests = [
            request_for(path, threads, options, device).model_copy(update={"operators": operators})
            for path, threads in rows
        ]
        paths = [path for path, _ in rows]
        checks = check_models(paths, requests, options.inputs, device, optional)
        runnable = [index for index, checked in enumerate(checks) if not checked.failure]
        done = {entry.run.order for entry in journal.finished}
        repetition = 0
        while repetition < options.repetitions or not _answered(journal, runnable, repetition):
            total = len(runnable) * max(options.repetitions, repetition + 1)
            for step in round_of(runnable, repetition):
                path, threads = rows[step.model]
                progress(f"Measuring {labeled(path.name, threads)}", step.order, total)
                if step.order in done:
                    continue
                with naming(path):
                    _measure_one(requests[step.model], step, device, lock, journal)
            repetition += 1
    return _result(journal, checks)


def _answered(journal: Journal, models: Sequence[int], repetitions: int) -> bool:
    """Whether the question is answered, or not to be answered within the limit."""
    options = journal.session.options
    if options.detect is None or repetitions >= options.max_repetitions:
        return True
    if repetitions % 2:  # as many forth as back
        return False
    return answered([_runs(journal, model) for model in models], options.detect)


def _runs(journal: Journal, model: int) -> tuple[ProcessRun, ...]:
    """The processes of a model in their order, marked if others had a faster clock."""
    runs = [entry.run for entry in journal.finished if entry.model == model]
    return marked(sorted(runs, key=lambda run: run.order))


def _measure_one(
    request: RunRequest, step: Step, device: Device, lock: Lock | None, journal: Journal
) -> None:
    """Measure one process, again if it was disturbed, and put what it said into the journal."""
    for left in reversed(range(journal.session.options.retries + 1)):
        if lock is not None:
            lock.renew()
        answer = Answer()
        try:
            with closing(device.run(request)) as events:
                for event in events:
                    answer.take(event)
            machine, run = answer.process(step.repetition, step.order)
        except BaseException as error:
            if answer.samples:
                journal.add(_set_aside(step, answer.samples, why_cut(error)))
            raise
        earlier = [entry.run for entry in journal.finished if entry.model == step.model]
        disturbed = disturbances(run)
        slow = slower_clock(run, fastest_clock([*earlier, run]))
        if (disturbed or slow) and left:
            reasons = [*disturbed, *([slow] if slow else [])]
            journal.add(_set_aside(step, answer.samples, "; ".join(reasons)))
            if throttled(run) or overheated(run):
                time.sleep(COOLING_SECONDS)
            continue
        entry = Finished(
            model=step.model,
            machine=machine,
            run=run.model_copy(update={"disturbances": disturbed}),
        )
        _check_same_machine(entry, journal)
        journal.add(entry)
        return


def _set_aside(step: Step, samples: Sequence[int], reason: str) -> SetAside:
    return SetAside(
        model=step.model, repetition=step.repetition, reason=reason, samples_ns=tuple(samples)
    )


def _check_same_machine(entry: Finished, journal: Journal) -> None:
    """A resumed session may have met another board under the same name, or a new runtime."""
    device = journal.session.device
    for before in journal.finished:
        for name in ("architecture", "board", "cpu", "cores"):
            was, now = getattr(before.machine, name), getattr(entry.machine, name)
            if was != now:
                raise MeasurementError(
                    f"{device}: it is another machine than before ({name} {now}, was {was})",
                    hint="measure again from the beginning",
                )
        if before.model == entry.model:
            was = f"{before.run.runtime.value} {before.run.runtime_version}"
            now = f"{entry.run.runtime.value} {entry.run.runtime_version}"
            if was != now:
                raise MeasurementError(
                    f"{device}: it has {now} now and had {was}",
                    hint="measure again from the beginning",
                )


def _result(journal: Journal, checks: Sequence[Checked]) -> BenchResult:
    session = journal.session
    models = []
    left_out = {}
    for index, ((file, threads), checked) in enumerate(zip(session.rows, checks, strict=True)):
        if checked.failure:
            left_out[file] = LeftOut(file=file, reason=checked.failure.message)
            continue
        models.append(
            ModelResult(
                file=file,
                threads=threads,
                processes=_runs(journal, index),
                memory=checked.memory,
                agreement=checked.agreement,
            )
        )
    machine = journal.finished[-1].machine
    found = warnings(models, machine, session.options, journal.set_aside)
    return BenchResult(
        edgeconv_version=__version__,
        started=session.started,
        device=session.device,
        machine=machine,
        options=session.options,
        models=tuple(models),
        warnings=(*found, *dict.fromkeys(checked.note for checked in checks if checked.note)),
        set_aside=tuple(journal.set_aside),
        left_out=tuple(left_out.values()),
    )


def check_files(models: Sequence[Path], options: BenchOptions) -> None:
    """Refuse, before anything slow, what cannot be measured.

    Raises:
        UsageError: no file, a file twice, one that is missing or damaged or that the runtime does
            not read, or inputs that cannot be read.
    """
    if not models:
        raise UsageError(
            "there is nothing to measure", hint="name at least one .onnx or .tflite file"
        )
    for path in (*models, *([options.inputs] if options.inputs else [])):
        if file_name(str(path)) != str(path):  # requests, journals and results are JSON
            raise UsageError(f"{path} is a name that is not UTF-8", hint="rename it")
    for index, path in enumerate(models):
        if path in models[:index]:
            raise UsageError(f"{path} is named twice", hint="name each file once")
        if not path.is_file():
            raise UsageError(
                f"{path}: no such file or bundle",
                hint="name an .onnx or .tflite file, or a folder that `edgeconv export` wrote",
            )
        if path.suffix not in (".onnx", ".tflite"):
            raise UsageError(
                f"{path} is neither an .onnx nor a .tflite file",
                hint="name an .onnx or .tflite file, or a folder that `edgeconv export` wrote",
            )
        if options.runtime is not None and path.suffix != options.runtime.suffix:
            raise UsageError(
                f"{options.runtime.value} reads {options.runtime.suffix} files, not {path}",
                hint="leave --runtime out or name other files",
            )
        with path.open("rb") as file:
            head = file.read(8)
        # LiteRT gives a damaged file's name for any reason; this one is worth its own words.
        if path.suffix == ".tflite" and head[4:] != b"TFL3":
            raise UsageError(
                f"{path} is not a TFLite file: its identifier is not TFL3",
                hint="make or copy it again",
            )
    if options.inputs is not None:
        check_inputs(options.inputs)


def request_for(path: Path, threads: int, options: BenchOptions, device: Device) -> RunRequest:
    """What the device is asked of one file with one number of threads; the file is sent there."""
    return RunRequest(
        model=device.place(path),
        runtime=options.runtime,
        threads=threads,
        affinity=options.affinity,
        warmup_seconds=options.warmup,
        warmup_runs=WARMUP_RUNS if options.warmup else 0,
        min_runs=options.runs,
        min_seconds=options.seconds,
        max_seconds=options.max_seconds,
        reading_seconds=READING_SECONDS,
        deadline_seconds=deadline(options),
        seed=options.seed,
        inputs=device.place(options.inputs) if options.inputs else None,
        channels_first=channels_first(path) if options.inputs else (),
        pixels=pixels(path),
        xnnpack=options.xnnpack,
    )


def deadline(options: BenchOptions) -> int:
    """Seconds after which a process ends itself."""
    return math.ceil(LOAD_SECONDS + WARMUP_LIMIT * options.warmup + 2 * options.max_seconds)
