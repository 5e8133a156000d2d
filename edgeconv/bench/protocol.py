"""What is measured and asked of the device, and the assembly of what comes back.

Every repetition of a row, which is a file with a number of threads, is a process of its own;
``processes.py`` measures them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from datetime import datetime, timezone
from itertools import product
from pathlib import Path

from edgeconv import __version__
from edgeconv.bench.adaptive import undecided
from edgeconv.bench.check import Checked, check_models
from edgeconv.bench.inputs import channels_first, check_inputs, pixels
from edgeconv.bench.interference import warnings
from edgeconv.bench.journal import LATENCY, Journal, Measures, Session
from edgeconv.bench.processes import Row, measure_repetitions, runs_of
from edgeconv.bench.result import (
    BenchOptions,
    BenchResult,
    LeftOut,
    ModelFile,
    ModelResult,
    labeled,
)
from edgeconv.bundle import sha256_of
from edgeconv.device import Device, RunRequest
from edgeconv.errors import UsageError
from edgeconv.near_names import near_paths
from edgeconv.printable import file_name
from edgeconv.progress import Progress, no_progress

WARMUP_RUNS = 3
WARMUP_LIMIT = 24  # the runner's: an unstable warm-up ends after so many times its time
LOAD_SECONDS = 300  # for loading, and for the inferences that begin in time and end late
LEASE_SECONDS = 900  # beyond a process: for sending files
READING_SECONDS = 0.5  # between two looks at the device's state while it measures


def new_session(
    models: Sequence[Path],
    options: BenchOptions,
    device: str,
    out: Path | None = None,
    measures: Measures = LATENCY,
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
        measures=measures,
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
        rows = [
            Row(
                path,
                labeled(path.name, threads),
                request_for(path, threads, options, device).model_copy(
                    update={"operators": operators}
                ),
            )
            for path, threads in product(models, options.sweep)
        ]
        checks = check_rows(rows, options, device, optional)
        measure_repetitions(rows, runnable_of(checks), device, lock, journal, progress)
    return _result(journal, checks)


def check_rows(
    rows: Sequence[Row], options: BenchOptions, device: Device, optional: Collection[Path]
) -> list[Checked]:
    """Check every row before any time is taken; see :func:`check_models`."""
    paths, requests = [row.path for row in rows], [row.request for row in rows]
    return check_models(paths, requests, options.inputs, device, optional)


def runnable_of(checks: Sequence[Checked]) -> list[int]:
    """The indices of the rows that the device can run."""
    return [index for index, checked in enumerate(checks) if not checked.failure]


def left_out_of(session: Session, checks: Sequence[Checked]) -> tuple[LeftOut, ...]:
    """The files that the device cannot run, each once."""
    found = {
        file: LeftOut(file=file, reason=checked.failure.message)
        for (file, _), checked in zip(session.rows, checks, strict=True)
        if checked.failure
    }
    return tuple(found.values())


def _result(journal: Journal, checks: Sequence[Checked]) -> BenchResult:
    session = journal.session
    runs = {index: runs_of(journal, index) for index in runnable_of(checks)}
    models = [
        ModelResult(
            file=session.rows[index][0],
            threads=session.rows[index][1],
            processes=processes,
            memory=checks[index].memory,
            agreement=checks[index].agreement,
        )
        for index, processes in runs.items()
    ]
    machine = journal.finished[-1].machine
    found = (
        *undecided(runs, session.options),
        *warnings(models, machine, session.options, journal.set_aside),
    )
    return BenchResult(
        edgeconv_version=__version__,
        started=session.started,
        device=session.device,
        machine=machine,
        options=session.options,
        models=tuple(models),
        warnings=(*found, *dict.fromkeys(checked.note for checked in checks if checked.note)),
        set_aside=tuple(journal.set_aside),
        left_out=left_out_of(session, checks),
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
            wanted = "name an .onnx or .tflite file, or a folder that `edgeconv export` wrote"
            raise UsageError(f"{path}: no such file or bundle", hint=near_paths(path, wanted))
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
