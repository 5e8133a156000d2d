"""The result of a measurement: versioned JSON that keeps every raw sample."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, computed_field, model_validator

from edgeconv.arguments import StatedRecord
from edgeconv.bench import statistics
from edgeconv.bench.repetition import MOST, MOST_SECONDS, enough_calm
from edgeconv.bench.statistics import Figure
from edgeconv.bundle import sha256_of
from edgeconv.computed import Computed, without_older_figures
from edgeconv.device.messages import (
    Conditions,
    Count,
    Duration,
    Machine,
    Nanoseconds,
    Operator,
    Output,
    Runtime,
)
from edgeconv.errors import MeasurementError
from edgeconv.versioned import FileBytes, Record, StoredPath, Versioned, refuse_twice

Threads = Annotated[int, Field(ge=1, le=1024)]


class BenchOptions(StatedRecord):
    """How to measure. Times are seconds.

    Every process measures until ``runs`` AND ``seconds`` are reached, or ``max_seconds``.
    ``inputs`` is an .npz file with one array per input; without it the inputs are structured values
    made from ``seed``. A process that was disturbed is repeated up to ``retries`` times.
    ``repetitions`` are the processes of each file; with ``detect`` (0.03 is 3 %) they are the
    fewest, and more follow until such a change would be found, up to ``max_repetitions`` and for
    about ``max_time`` (the fewest may be fewer then). With ``in_pairs`` the files are an old and a
    new version in turns, and such a change would be found between these two. Several numbers of
    ``threads`` are a sweep: every file is measured with each, in turns. ``xnnpack`` says whether
    XNNPACK may run the files; None is what each runtime does by itself.
    """

    repetitions: int = Field(default=3, ge=1, le=1000)
    runs: int = Field(default=50, ge=1, lt=2**63)
    seconds: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    max_seconds: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    warmup: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    threads: Threads | Annotated[tuple[Threads, ...], Field(min_length=2)] = 1
    affinity: tuple[int, ...] | None = None
    runtime: Runtime | None = None
    seed: int = Field(default=0, ge=0, lt=2**32)
    inputs: StoredPath | None = None
    retries: int = Field(default=2, ge=0, le=100)
    detect: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_repetitions: int = Field(default=MOST, ge=1, le=1000)
    max_time: float = Field(default=MOST_SECONDS, gt=0, allow_inf_nan=False)
    in_pairs: bool = False
    xnnpack: bool | None = None

    @property
    def sweep(self) -> tuple[int, ...]:
        """The numbers of threads in their order; often a single one."""
        return (self.threads,) if isinstance(self.threads, int) else self.threads


class ModelFile(Record):
    """A measured file as the user named it."""

    name: str
    bytes: FileBytes
    sha256: str

    @classmethod
    def of(cls, path: Path) -> ModelFile:
        """Describe a file on this machine."""
        return cls(name=str(path), bytes=path.stat().st_size, sha256=sha256_of(path))


def _refuse_file_twice(models: tuple[Any, ...]) -> tuple[Any, ...]:
    refuse_twice(model.file.name for model in models)
    return models


EACH_FILE_ONCE = AfterValidator(_refuse_file_twice)
"""Of the models of a result: no two are of one file."""


class ProcessRun(Record):
    """One process: one model loaded, warmed up and measured. Durations are nanoseconds.

    ``before``, ``during`` and ``after`` are the device's states: at the beginning of the steady
    state, between inferences, and at the end.
    """

    repetition: Count
    order: Count = Field(description="place among all processes of the session, from 0")
    runtime: Runtime
    runtime_version: str
    python: str
    numpy: str
    load_ns: Nanoseconds
    first_ns: Duration
    warmup_runs: Count
    warmup_ns: Nanoseconds
    warmup_stable: bool
    samples_ns: tuple[Duration, ...] = Field(min_length=1)
    elapsed_ns: Duration
    complete: bool
    before: Conditions
    after: Conditions
    during: tuple[Conditions, ...] = ()
    outputs: tuple[Output, ...] = Field(description="of the first inference, without their bytes")
    disturbances: tuple[str, ...] = Field(
        default=(), description="why to distrust it, although it was repeated"
    )
    operators: tuple[Operator, ...] = Field(default=(), exclude=True)  # of a profile only
    delegates: int | None = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _samples_fit(self) -> ProcessRun:
        """Refuse samples in another unit, as a hand may have written them into a file."""
        if sum(self.samples_ns) > self.elapsed_ns:
            raise ValueError(
                f"samples of {sum(self.samples_ns)} ns in all contradict {self.elapsed_ns} ns of "
                "measuring"
            )
        return self

    @property
    def states(self) -> tuple[Conditions, ...]:
        """The device's states in their order."""
        return (self.before, *self.during, self.after)

    @property
    def cpu_ns(self) -> float:
        """Processor time of one inference, all threads together."""
        used = self.after.own_cpu_seconds - self.before.own_cpu_seconds
        return max(0.0, used) * 1e9 / len(self.samples_ns)


class SetAside(Record):
    """Samples that no figure counts.

    They are of a process that was disturbed and repeated, or cut short. ``model`` is an index into
    the rows of the session: every file with each number of threads.
    """

    kind: Literal["set-aside"] = "set-aside"
    model: int = Field(ge=0)
    repetition: int
    reason: str
    samples_ns: tuple[Duration, ...]


class LeftOut(Record):
    """A file of a bundle that the device cannot run, and why."""

    file: ModelFile
    reason: str


class Memory(Record):
    """Peak resident memory in bytes, in a process that measures nothing else.

    ``before`` is from before the model was loaded (Python, NumPy, the runtime), ``peak`` from after
    its first inference.
    """

    before: Count
    peak: Count


class Agreement(Record):
    """The first inference's outputs on the device against those of this machine.

    ``sqnr_db`` is the signal-to-noise ratio (None: no difference). ``within_one_step`` is the share
    within one step, where the outputs are quantized values, or floats of at most 256 different
    values.
    """

    sqnr_db: float | None
    within_one_step: float | None


class Interval(Record):
    """A value and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, estimate: statistics.Estimate) -> Interval:
        """Take over an estimate."""
        return cls(value=estimate.value, low=estimate.low, high=estimate.high)


class Tail(Record):
    """A percentile, or why there is none."""

    value: float | None
    reason: str | None


class Summary(Record):
    """Figures of one model in nanoseconds, over its processes.

    ``low`` is the 10th percentile of each process, ``minimum`` the smallest sample of all, ``cpu``
    the processor time of an inference. ``processes`` says how many count: those that nothing
    disturbed, or all if too few were left in peace.
    """

    samples: int
    processes: int
    median: Interval
    low: Interval
    minimum: float
    cpu: float = Field(description="median over the processes")
    p90: Tail
    p99: Tail
    load: float = Field(description="median over the processes")
    first: float = Field(description="median over the processes")


class ModelResult(Computed):
    """All that was measured of one file with one number of threads."""

    file: ModelFile
    threads: Threads = 1
    processes: tuple[ProcessRun, ...] = Field(min_length=1)
    memory: Memory | None = None
    agreement: Agreement | None = None

    @property
    def label(self) -> str:
        """Its name, which no other row of its session has."""
        return labeled(self.file.name, self.threads)

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @cached_property
    def summary(self) -> Summary:
        """What the samples show."""
        return summarize(self.counted)

    @property
    def trusted(self) -> bool:
        """Whether enough processes were left in peace."""
        calm = sum(not run.disturbances for run in self.processes)
        return len(self.processes) < 2 or enough_calm(calm, len(self.processes))

    @property
    def counted(self) -> tuple[ProcessRun, ...]:
        """The processes that nothing disturbed; all, if those are too few."""
        calm = tuple(run for run in self.processes if not run.disturbances)
        return calm if calm and self.trusted else self.processes

    @property
    def samples(self) -> list[tuple[int, ...]]:
        """The samples of each process that counts, in the order of the repetitions."""
        return [process.samples_ns for process in self.counted]


class BenchResult(Versioned):
    """Everything that one session measured, and on what."""

    WHAT = "a result of edgeconv bench"
    REDO = "measure again"
    ERROR = MeasurementError

    OLDER = (1, 2)

    # 1 knew no states during a process, and counted disturbed processes; 2 had the number of
    # threads only in its options, and no choice of XNNPACK.
    schema_version: int = 3
    edgeconv_version: str
    started: datetime
    device: str
    machine: Machine
    options: BenchOptions
    models: tuple[ModelResult, ...] = Field(min_length=1)
    warnings: tuple[str, ...]
    set_aside: tuple[SetAside, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _threads_of_older(cls, fields: Any) -> Any:
        """In versions 1 and 2 every file had the number of threads of the options."""
        fields = without_older_figures(fields, cls.OLDER, ModelResult)
        if not isinstance(fields, dict) or fields.get("schema_version") not in cls.OLDER:
            return fields
        options, models = fields.get("options"), fields.get("models")
        if not isinstance(options, dict) or not isinstance(models, (list, tuple)):
            return fields
        threads = {"threads": options.get("threads", 1)}
        return fields | {"models": [{**m, **threads} if isinstance(m, dict) else m for m in models]}

    @model_validator(mode="after")
    def _no_row_twice(self) -> BenchResult:
        refuse_twice(model.label for model in self.models)
        return self

    @model_validator(mode="after")
    def _rows_took_turns(self) -> BenchResult:
        first, *others = self.models
        for model in others:
            if len(model.processes) != len(first.processes):
                raise ValueError(
                    f"{model.label} has {len(model.processes)} processes and {first.label} "
                    f"{len(first.processes)}, which one session does not make"
                )
        return self

    @property
    def slowest(self) -> int:
        """Index of the model with the largest median."""
        medians = [model.summary.median.value for model in self.models]
        return medians.index(max(medians))

    def speedup(self, baseline: int, model: int) -> Interval:
        """How many times faster ``model`` is than ``baseline`` (indices into ``models``)."""
        runs = self.models[baseline].processes, self.models[model].processes
        slow, fast = ([run.samples_ns for run in side] for side in paired(*runs) or runs)
        return Interval.of(statistics.ratio(slow, fast, paired=True))


def labeled(name: str, threads: int) -> str:
    """A file with its number of threads, unless that is one."""
    return name if threads == 1 else f"{name} on {threads} threads"


def paired(
    one: Sequence[ProcessRun], other: Sequence[ProcessRun]
) -> tuple[list[ProcessRun], list[ProcessRun]] | None:
    """The processes of two files of one session that ran side by side while nothing disturbed.

    Returns:
        Those of either file in the order of their pairs; None if too few were left in peace.
    """
    pairs = list(zip(one, other, strict=True))
    calm = [(a, b) for a, b in pairs if not (a.disturbances or b.disturbances)]
    if not enough_calm(len(calm), len(pairs)):
        return None
    return [a for a, _ in calm], [b for _, b in calm]


def summarize(processes: Sequence[ProcessRun]) -> Summary:
    """The figures of one model."""
    samples = [process.samples_ns for process in processes]
    p90, p99 = (statistics.percentile(samples, percent) for percent in (90, 99))
    return Summary(
        samples=sum(len(s) for s in samples),
        processes=len(processes),
        median=Interval.of(statistics.level(samples, Figure.MEDIAN)),
        low=Interval.of(statistics.level(samples, Figure.LOW)),
        minimum=min(map(min, samples)),
        cpu=median(process.cpu_ns for process in processes),
        p90=Tail(value=p90.value, reason=p90.reason),
        p99=Tail(value=p99.value, reason=p99.reason),
        load=median(process.load_ns for process in processes),
        first=median(process.first_ns for process in processes),
    )
