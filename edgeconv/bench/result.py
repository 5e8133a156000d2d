"""The result of a measurement: versioned JSON that keeps every raw sample."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Literal

from pydantic import Field

from edgeconv.bench import statistics
from edgeconv.bundle import sha256_of
from edgeconv.device.messages import Conditions, Duration, Machine, Nanoseconds, Output, Runtime
from edgeconv.errors import MeasurementError
from edgeconv.versioned import Record, Versioned


class BenchOptions(Record):
    """How to measure. Times are seconds.

    Every process measures until ``runs`` AND ``seconds`` are reached, or ``max_seconds``.
    ``inputs`` is an .npz file with one array per input; without it the inputs are structured values
    made from ``seed``. A process that was disturbed is repeated up to ``retries`` times.
    """

    repetitions: int = Field(default=3, ge=1, le=1000)
    runs: int = Field(default=50, ge=1)
    seconds: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    max_seconds: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    warmup: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    threads: int = Field(default=1, ge=1, le=1024)
    affinity: tuple[int, ...] | None = None
    runtime: Runtime | None = None
    seed: int = Field(default=0, ge=0, lt=2**32)
    inputs: Path | None = None
    retries: int = Field(default=2, ge=0, le=100)


class ModelFile(Record):
    """A measured file as the user named it."""

    name: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> ModelFile:
        """Describe a file on this machine."""
        return cls(name=str(path), bytes=path.stat().st_size, sha256=sha256_of(path))


class ProcessRun(Record):
    """One process: one model loaded, warmed up and measured. Durations are nanoseconds."""

    repetition: int
    order: int = Field(description="place among all processes of the session, from 0")
    runtime: Runtime
    runtime_version: str
    python: str
    numpy: str
    load_ns: Nanoseconds
    first_ns: Duration
    warmup_runs: int
    warmup_ns: int
    warmup_stable: bool
    samples_ns: tuple[Duration, ...] = Field(min_length=1)
    elapsed_ns: Duration
    complete: bool
    before: Conditions
    after: Conditions
    outputs: tuple[Output, ...] = Field(description="of the first inference, without their bytes")
    disturbances: tuple[str, ...] = Field(
        default=(), description="why to distrust it, although it was repeated"
    )


class SetAside(Record):
    """Samples that no figure counts.

    They are of a process that was disturbed and repeated, or cut short. ``model`` is an index into
    the models of the session.
    """

    kind: Literal["set-aside"] = "set-aside"
    model: int = Field(ge=0)
    repetition: int
    reason: str
    samples_ns: tuple[Duration, ...]


class Memory(Record):
    """Peak resident memory in bytes, in a process that measures nothing else.

    ``before`` is from before the model was loaded (Python, NumPy, the runtime), ``peak`` from after
    its first inference.
    """

    before: int
    peak: int


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
    """Figures of one model in nanoseconds, over all its processes."""

    samples: int
    median: Interval
    p90: Tail
    p99: Tail
    load: float = Field(description="median over the processes")
    first: float = Field(description="median over the processes")


class ModelResult(Record):
    """All that was measured of one file."""

    file: ModelFile
    processes: tuple[ProcessRun, ...] = Field(min_length=1)
    summary: Summary
    memory: Memory | None = None
    agreement: Agreement | None = None

    @property
    def samples(self) -> list[tuple[int, ...]]:
        """The samples of each process, in the order of the repetitions."""
        return [process.samples_ns for process in self.processes]


class BenchResult(Versioned):
    """Everything that one session measured, and on what."""

    WHAT = "a result of edgeconv bench"
    REDO = "measure again"
    ERROR = MeasurementError

    schema_version: int = 1
    edgeconv_version: str
    started: datetime
    device: str
    machine: Machine
    options: BenchOptions
    models: tuple[ModelResult, ...] = Field(min_length=1)
    warnings: tuple[str, ...]
    set_aside: tuple[SetAside, ...] = ()

    @property
    def slowest(self) -> int:
        """Index of the model with the largest median."""
        medians = [model.summary.median.value for model in self.models]
        return medians.index(max(medians))

    def speedup(self, baseline: int, model: int) -> Interval:
        """How many times faster ``model`` is than ``baseline`` (indices into ``models``)."""
        slow, fast = self.models[baseline], self.models[model]
        estimate = statistics.ratio(slow.samples, fast.samples, paired=True, seed=self.options.seed)
        return Interval.of(estimate)

    @classmethod
    def parse(cls, text: str | bytes, path: Path) -> BenchResult:
        """Validate the text of a result, and compute its summaries from its samples again."""
        return _summarized(super().parse(text, path))


def _summarized(result: BenchResult) -> BenchResult:
    models = tuple(
        model.model_copy(update={"summary": summarize(model.processes, result.options.seed)})
        for model in result.models
    )
    return result.model_copy(update={"models": models})


def summarize(processes: tuple[ProcessRun, ...], seed: int) -> Summary:
    """The figures of one model. Same processes and seed, same figures."""
    samples = [process.samples_ns for process in processes]
    p90, p99 = (statistics.percentile(samples, percent) for percent in (90, 99))
    return Summary(
        samples=sum(len(s) for s in samples),
        median=Interval.of(statistics.level(samples)),
        p90=Tail(value=p90.value, reason=p90.reason),
        p99=Tail(value=p99.value, reason=p99.reason),
        load=median(process.load_ns for process in processes),
        first=median(process.first_ns for process in processes),
    )
