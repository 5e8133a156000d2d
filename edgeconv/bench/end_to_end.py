"""What a bundle's files cost in use: from a camera's frame to the decoded answer, step by step.

The steps around the model are those of the bundle's own ``run.py``. Its text is made from the
manifest; a ``run.py`` that lies in the folder is not used.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import Field, computed_field, model_validator

from edgeconv import __version__
from edgeconv.bench import statistics
from edgeconv.bench.check import check_models, naming
from edgeconv.bench.inputs import described
from edgeconv.bench.interference import disturbances
from edgeconv.bench.process_events import Answer
from edgeconv.bench.protocol import LEASE_SECONDS, check_files, deadline, request_for, round_of
from edgeconv.bench.result import BenchOptions, Interval, ModelFile, ProcessRun
from edgeconv.companion.network import image_input
from edgeconv.companion.write import run_script
from edgeconv.device import Device, RunRequest
from edgeconv.device.messages import Machine, Steps
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.progress import Progress, no_progress
from edgeconv.versioned import Record, Versioned

NAMES = ("frame", "preparation", "input", "inference", "output", "answer")
Side = Annotated[int, Field(ge=1, le=8192)]
Frame = tuple[Side, Side]  # width and height


class EndToEndModel(Record):
    """One file: its processes, whose samples are whole frames, and the steps of each of them."""

    file: ModelFile
    processes: tuple[ProcessRun, ...] = Field(min_length=1)
    steps: tuple[Steps, ...]

    @model_validator(mode="before")
    @classmethod
    def _without_figures(cls, data: Any) -> Any:
        """Figures are computed from the samples, whatever a file says."""
        if isinstance(data, dict):
            return {n: v for n, v in data.items() if n not in ("total_ns", "steps_ns")}
        return data

    @model_validator(mode="after")
    def _complete(self) -> EndToEndModel:
        if len(self.steps) != len(self.processes):
            raise ValueError("processes without steps")
        return self

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @cached_property
    def total_ns(self) -> Interval:
        """The median from a frame to its answer."""
        return Interval.of(statistics.level([run.samples_ns for run in self.processes]))

    @computed_field  # type: ignore[prop-decorator]
    @cached_property
    def steps_ns(self) -> dict[str, float]:
        """The median of each step over the processes, in the order of the steps."""
        return {name: median(getattr(each, name) for each in self.steps) for name in NAMES}


class EndToEndResult(Versioned):
    """Everything that one session measured."""

    WHAT = "a result of edgeconv bench --end-to-end"
    REDO = "measure again"
    ERROR = MeasurementError

    schema_version: int = 1
    kind: Literal["end-to-end"] = "end-to-end"
    edgeconv_version: str
    started: datetime
    device: str
    machine: Machine
    options: BenchOptions
    frame: Frame
    models: tuple[EndToEndModel, ...] = Field(min_length=1)
    warnings: tuple[str, ...]


def measure_end_to_end(
    models: Sequence[Path],
    options: BenchOptions,
    frame: Frame,
    device: Device,
    progress: Progress = no_progress,
) -> EndToEndResult:
    """Measure files of bundles from a frame to the answer, in ``options.repetitions`` processes.

    Args:
        models: The files; each lies in its bundle.
        options: How to measure.
        frame: Width and height of the camera's frames.
        device: Where to measure; it needs Pillow.
        progress: Called before every process.

    Raises:
        UsageError: A file is in no bundle, or its network does not take one image.
        MeasurementError: A file could not be measured, or the device has no Pillow.
    """
    check_files(models, options)
    scripts = [_script(path) for path in models]
    started = datetime.now(timezone.utc).replace(microsecond=0)
    runs: list[list[ProcessRun]] = [[] for _ in models]
    steps: list[list[Steps]] = [[] for _ in models]
    with device.lock(deadline(options) + LEASE_SECONDS) as lock, _placed(scripts, device) as placed:
        plain = [request_for(path, options.sweep[0], options, device) for path in models]
        check_models(models, plain, options.inputs, device)
        for repetition in range(options.repetitions):
            for step in round_of(range(len(models)), repetition):
                path = models[step.model]
                progress(f"Measuring {path.name}", step.order, options.repetitions * len(models))
                around = {"script": placed[step.model], "script_file": path.name, "frame": frame}
                lock.renew()
                with naming(path):
                    request = plain[step.model].model_copy(update=around)
                    machine, run, times = _measured(request, device, repetition, step.order)
                runs[step.model].append(run)
                steps[step.model].append(times)
    return EndToEndResult(
        edgeconv_version=__version__,
        started=started,
        device=device.name,
        machine=machine,
        options=options,
        frame=frame,
        models=tuple(
            EndToEndModel(file=ModelFile.of(path), processes=tuple(r), steps=tuple(s))
            for path, r, s in zip(models, runs, steps, strict=True)
        ),
        warnings=_warnings(models, runs),
    )


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
    with tempfile.TemporaryDirectory(prefix="edgeconv-") as folder:
        files = [Path(folder) / f"{index}.py" for index in range(len(scripts))]
        for file, text in zip(files, scripts, strict=True):
            file.write_text(text, "utf-8")
        try:
            yield [device.place(file) for file in files]
        finally:
            device.remove(files)


def _measured(
    request: RunRequest, device: Device, repetition: int, order: int
) -> tuple[Machine, ProcessRun, Steps]:
    answer = Answer()
    with closing(device.run(request)) as events:
        for event in events:
            answer.take(event)
    machine, run = answer.process(repetition, order)
    if answer.steps is None:
        raise MeasurementError("the device: the runner left out the times of the steps")
    return machine, run, answer.steps


def _warnings(models: Sequence[Path], runs: Sequence[Sequence[ProcessRun]]) -> tuple[str, ...]:
    found = []
    for path, processes in zip(models, runs, strict=True):
        reasons = dict.fromkeys(reason for run in processes for reason in disturbances(run))
        found += [f"{path.name}: {reason}: distrust its figures" for reason in reasons]
    return tuple(found)
