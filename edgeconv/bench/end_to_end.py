"""What a bundle's files cost in use: from a camera's frame to the decoded answer, step by step.

The steps around the model are those of the bundle's own ``run.py``. Its text is made from the
manifest; a ``run.py`` that lies in the folder is not used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import Field, computed_field, model_validator

from edgeconv import __version__
from edgeconv.bench.adaptive import undecided
from edgeconv.bench.check import Checked
from edgeconv.bench.inputs import described
from edgeconv.bench.interference import warnings
from edgeconv.bench.journal import Frame, Journal, Kind, Measures
from edgeconv.bench.processes import Row, finished_of, measure_repetitions, runs_of
from edgeconv.bench.protocol import (
    LEASE_SECONDS,
    check_rows,
    deadline,
    left_out_of,
    new_session,
    request_for,
    runnable_of,
)
from edgeconv.bench.result import (
    EACH_FILE_ONCE,
    BenchOptions,
    Interval,
    LeftOut,
    ModelFile,
    ModelResult,
    ProcessRun,
    SetAside,
)
from edgeconv.companion.network import image_input
from edgeconv.companion.write import run_script
from edgeconv.computed import Computed, without_older_figures
from edgeconv.device import Device
from edgeconv.device.messages import Machine, Steps
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.progress import Progress, no_progress
from edgeconv.scratch import temporary_folder
from edgeconv.versioned import Versioned

NAMES = ("frame", "preparation", "input", "inference", "output", "answer")


class EndToEndModel(Computed):
    """One file: its processes, whose samples are whole frames, and the steps of each of them."""

    file: ModelFile
    processes: tuple[ProcessRun, ...] = Field(min_length=1)
    steps: tuple[Steps, ...]

    def check_parts(self) -> None:
        """See that every process has its steps."""
        if len(self.steps) != len(self.processes):
            raise ValueError("processes without steps")

    @cached_property
    def frames(self) -> ModelResult:
        """Its processes as those of a file, which say what of them counts."""
        return ModelResult(file=self.file, processes=self.processes)

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @cached_property
    def total_ns(self) -> Interval:
        """The median from a frame to its answer."""
        return self.frames.summary.median

    @computed_field  # type: ignore[prop-decorator]
    @cached_property
    def steps_ns(self) -> dict[str, float]:
        """The median of each step over the processes that count, in the order of the steps."""
        counted = self.frames.counted
        steps = [s for s, run in zip(self.steps, self.processes, strict=True) if run in counted]
        return {name: median(getattr(each, name) for each in steps) for name in NAMES}


class EndToEndResult(Versioned):
    """Everything that one session measured."""

    WHAT = "a result of edgeconv bench --end-to-end"
    REDO = "measure again"
    ERROR = MeasurementError
    OLDER = (1,)

    schema_version: int = 2  # 1 repeated no process that was disturbed, and left no file out
    kind: Literal["end-to-end"] = "end-to-end"
    edgeconv_version: str
    started: datetime
    device: str
    machine: Machine
    options: BenchOptions
    frame: Frame
    models: Annotated[tuple[EndToEndModel, ...], EACH_FILE_ONCE] = Field(min_length=1)
    warnings: tuple[str, ...]
    set_aside: tuple[SetAside, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _figures_of_older(cls, fields: Any) -> Any:
        return without_older_figures(fields, cls.OLDER, EndToEndModel)


def measures(frame: Frame) -> Measures:
    """What such a session measures."""
    return Measures(kind=Kind.END_TO_END, frame=frame)


def measure_end_to_end(
    models: Sequence[Path],
    options: BenchOptions,
    frame: Frame,
    device: Device,
    progress: Progress = no_progress,
    *,
    journal: Journal | None = None,
    optional: Collection[Path] = (),
) -> EndToEndResult:
    """Measure files of bundles from a frame to the answer, in ``options.repetitions`` processes.

    Args:
        models: The files; each lies in its bundle.
        options: How to measure.
        frame: Width and height of the camera's frames.
        device: Where to measure; it needs Pillow.
        progress: Called before every process.
        journal: Has the processes that were measured before, and gets every further one.
        optional: Files that are left out if the device cannot run them.

    Raises:
        UsageError: A file is in no bundle, its network does not take one image, or the journal is
            of another measurement.
        MeasurementError: A file could not be measured, or the device has no Pillow.
    """
    session = new_session(models, options, device.name, measures=measures(frame))
    scripts = [_script(path) for path in models]
    if journal is None:
        journal = Journal(session)
    journal.check_same(session)
    with device.lock(deadline(options) + LEASE_SECONDS) as lock, _placed(scripts, device) as placed:
        threads = options.sweep[0]
        plain = [Row(p, p.name, request_for(p, threads, options, device)) for p in models]
        checks = check_rows(plain, options, device, optional)
        rows = [
            Row(path, row.label, row.request.model_copy(update=around))
            for path, row, script in zip(models, plain, placed, strict=True)
            for around in [{"script": script, "script_file": path.name, "frame": frame}]
        ]
        measure_repetitions(rows, runnable_of(checks), device, lock, journal, progress)
    return _result(journal, checks, frame)


def _result(journal: Journal, checks: Sequence[Checked], frame: Frame) -> EndToEndResult:
    session = journal.session
    runs = {row: runs_of(journal, row) for row in runnable_of(checks)}
    models = tuple(_model(session.files[row], journal, row) for row in runs)
    machine = journal.finished[-1].machine
    frames = [model.frames for model in models]
    return EndToEndResult(
        edgeconv_version=__version__,
        started=session.started,
        device=session.device,
        machine=machine,
        options=session.options,
        frame=frame,
        models=models,
        warnings=(
            *undecided(runs, session.options),
            *warnings(frames, machine, session.options, journal.set_aside),
        ),
        set_aside=tuple(journal.set_aside),
        left_out=left_out_of(session, checks),
    )


def _model(file: ModelFile, journal: Journal, row: int) -> EndToEndModel:
    steps = [entry.steps for entry in finished_of(journal, row)]
    whole = tuple(each for each in steps if each is not None)
    if len(whole) != len(steps):
        raise MeasurementError(
            f"{journal.session.device}: the runner left out the times of the steps"
        )
    return EndToEndModel(file=file, processes=runs_of(journal, row), steps=whole)


def _script(path: Path) -> str:
    """The text that prepares pictures for a file and decodes its outputs."""
    found = described(path)
    if found is None:
        raise UsageError(
            f"{path} is in no bundle, which would say what becomes of a picture",
            hint="name a folder that `edgeconv export` wrote, or leave out --end-to-end",
        )
    manifest, _ = found
    if image_input(manifest) is None:
        raise UsageError(
            f"{path.parent}: the network does not take one image", hint="leave out --end-to-end"
        )
    return run_script(manifest)


@contextmanager
def _placed(scripts: Sequence[str], device: Device) -> Iterator[list[str]]:
    """The paths of the scripts on the device, which has them while the block runs."""
    with temporary_folder() as folder:
        files = [folder / f"{index}.py" for index in range(len(scripts))]
        for file, text in zip(files, scripts, strict=True):
            file.write_text(text, "utf-8")
        try:
            yield [device.place(file) for file in files]
        finally:
            device.remove(files)
