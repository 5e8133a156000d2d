"""Executed instructions of model files on an emulated board. Counts, never times."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgeconv import __version__
from edgeconv.bench.check import naming
from edgeconv.bench.inputs import channels_first, pixels
from edgeconv.bench.protocol import check_files
from edgeconv.bench.result import EACH_FILE_ONCE, BenchOptions, LeftOut, ModelFile
from edgeconv.device.emulated import EmulatedDevice, InstructionCounts
from edgeconv.device.messages import Instructions, Output, Outputs, RunRequest, Runtime, Start
from edgeconv.errors import MeasurementError
from edgeconv.progress import Progress, no_progress
from edgeconv.versioned import Record, StoredPath, Versioned

DEADLINE_SECONDS = 3600  # large networks take minutes where they take seconds on a board
RUNS = 2  # inferences counted after the first; they differ by less than 0.1 %


class CountOptions(Record):
    """How to count, on one thread.

    ``runtime`` None is the usual runtime that reads the file. ``inputs`` is an .npz file; without
    it the inputs are structured values made from ``seed``. ``xnnpack`` is as in
    :class:`edgeconv.bench.result.BenchOptions`.
    """

    runtime: Runtime | None = None
    seed: int = Field(default=0, ge=0, lt=2**32)
    inputs: StoredPath | None = None
    xnnpack: bool | None = None


class CountedModel(Record):
    """One file: what one inference after the first executes, and what it computes."""

    file: ModelFile
    runtime: Runtime
    runtime_version: str
    python: str
    numpy: str
    counts: InstructionCounts
    outputs: tuple[Output, ...] = Field(description="of the first inference, without their bytes")

    @model_validator(mode="after")
    def _parts_fit(self) -> CountedModel:
        """Refuse more instructions of a class than there are in all, as a hand may write them."""
        for name, part in self.counts:
            if part is not None and part > self.counts.total:
                raise ValueError(f"{part} instructions of {name} contradict {self.counts.total}")
        return self


class CountResult(Versioned):
    """Everything that one session counted. ``cpu`` is QEMU's name of the core."""

    WHAT = "a result of edgeconv bench on an emulated board"
    REDO = "count again"
    ERROR = MeasurementError

    OLDER = (1,)

    schema_version: int = 2  # 1 left no file out
    kind: Literal["instructions"] = "instructions"
    emulated: Literal[True] = True
    edgeconv_version: str
    started: datetime
    device: str
    board: str
    cpu: str
    options: CountOptions
    models: Annotated[tuple[CountedModel, ...], EACH_FILE_ONCE] = Field(min_length=1)
    left_out: tuple[LeftOut, ...] = ()


def count(
    models: Sequence[Path],
    options: CountOptions,
    device: EmulatedDevice,
    progress: Progress = no_progress,
    *,
    optional: Collection[Path] = (),
) -> CountResult:
    """Count the instructions of every model, each in a process of its own.

    Args:
        models: The files.
        options: How to count.
        device: The board.
        progress: Called before every file.
        optional: Files that are left out if the board cannot run them, unless it can run none.

    Raises:
        UsageError: no file, a file twice, one that is missing or that the runtime or the board
            does not read, or inputs that do not fit.
        MeasurementError: a model could not be run.
    """
    check_files(models, BenchOptions(runtime=options.runtime, inputs=options.inputs))
    started = datetime.now(timezone.utc).replace(microsecond=0)
    counted, left_out = [], []
    for index, path in enumerate(models):
        progress(f"Counting {path.name}", index, len(models))
        try:
            with naming(path):
                counted.append(_count_one(path, options, device))
        except MeasurementError as error:
            last = index == len(models) - 1
            if path not in optional or (last and not counted):
                raise
            left_out.append(LeftOut(file=ModelFile.of(path), reason=error.message))
    return CountResult(
        edgeconv_version=__version__,
        started=started,
        device=device.name,
        board=device.board.model,
        cpu=device.board.cpu.value,
        options=options,
        models=tuple(counted),
        left_out=tuple(left_out),
    )


def _count_one(path: Path, options: CountOptions, device: EmulatedDevice) -> CountedModel:
    request = RunRequest(
        model=device.place(path),
        runtime=options.runtime,
        min_runs=RUNS,
        deadline_seconds=DEADLINE_SECONDS,
        seed=options.seed,
        inputs=device.place(options.inputs) if options.inputs else None,
        channels_first=channels_first(path) if options.inputs else (),
        pixels=pixels(path),
        xnnpack=options.xnnpack,
    )
    start: Start | None = None
    outputs: Outputs | None = None
    with closing(device.run(request)) as events:
        for event in events:
            if isinstance(event, Start):
                start = event
            elif isinstance(event, Outputs):
                outputs = event
            elif isinstance(event, Instructions) and start and outputs:
                return CountedModel(
                    file=ModelFile.of(path),
                    runtime=start.runtime,
                    runtime_version=start.runtime_version,
                    python=start.python,
                    numpy=start.numpy,
                    counts=InstructionCounts.of(event),
                    outputs=tuple(o.model_copy(update={"base64": None}) for o in outputs.outputs),
                )
    raise MeasurementError(f"{device.name}: the runner left out a part of its answer")
