"""What travels between host and runner: one request, then events. Nothing in them is trusted."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter

from edgeconv.versioned import Record


class Runtime(str, Enum):
    """An inference runtime, by the name that people use."""

    LITERT = "litert"
    TFLITE_RUNTIME = "tflite-runtime"
    ONNXRUNTIME = "onnxruntime"

    @property
    def suffix(self) -> str:
        """Suffix of the files that it reads."""
        return ".onnx" if self is Runtime.ONNXRUNTIME else ".tflite"


def printable(text: str) -> str:
    """Keep a device from steering the terminal that shows its words."""
    return "".join(c if c.isprintable() else " " for c in text)


Text = Annotated[str, StringConstraints(max_length=4096), AfterValidator(printable)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Nanoseconds = Annotated[int, Field(ge=0, lt=2**63)]
Duration = Annotated[int, Field(gt=0, lt=2**63)]  # no inference takes no time: logarithms follow
Count = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Watts = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Message(Record):
    """Base of everything that travels between host and runner."""


class RunRequest(Message):
    """What the runner shall measure. Paths are the device's; times are seconds.

    ``runtime`` None: the first installed one that reads the file. ``inputs``: an .npz file, or None
    for structured values from ``seed``; ``channels_first``: those of the model's inputs that the
    .npz file may have as NCHW although the model takes NHWC. ``log``: a file that gets the events
    too. ``counts``: the file of an emulator that counts instructions; ``min_runs`` inferences are
    counted, none is timed. ``reading_seconds`` above 0: tell the device's state that often.
    ``operators``: of an ONNX file, the profile of its operators instead of samples; of a TFLite
    file, also what its delegates take. The runner ends itself after ``deadline_seconds``, whatever
    happens.
    """

    protocol: Literal[1] = 1
    model: str
    runtime: Runtime | None = None
    threads: int = Field(default=1, ge=1)
    affinity: tuple[int, ...] | None = None
    warmup_seconds: Seconds = 0.5
    warmup_runs: int = Field(default=5, ge=0)
    stability: float = Field(default=0.05, gt=0)
    min_runs: int = Field(default=50, ge=1)
    min_seconds: Seconds = 1.0
    max_seconds: Seconds = 60.0
    deadline_seconds: int = Field(default=600, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    inputs: str | None = None
    channels_first: tuple[str, ...] = ()
    log: str | None = None
    counts: str | None = None
    reading_seconds: Seconds = 0.0
    operators: bool = False


class Machine(Message):
    """The device as the runner finds it; None where the system does not tell."""

    architecture: Text
    system: Text
    libc: Text
    board: Text | None
    cpu: Text | None
    cores: Count | None
    cores_allowed: Count
    memory_bytes: Count | None
    governor: Text | None


class Conditions(Message):
    """The device's state at one moment. CPU seconds count from the start of the process (own)
    or of the system (all cores together, stolen by a hypervisor).
    """

    load_average: Seconds
    frequencies_hz: tuple[Count, ...]
    temperature_c: Annotated[float, Field(allow_inf_nan=False)] | None
    throttled: Text | None
    own_cpu_seconds: Seconds
    all_cpu_seconds: Seconds
    stolen_seconds: Seconds
    peak_rss_bytes: Count | None


class Start(Message):
    event: Literal["start"]
    protocol: Literal[1]
    runtime: Runtime
    runtime_version: Text
    python: Text
    numpy: Text
    machine: Machine
    conditions: Conditions


class Load(Message):
    """Reading the file and making it ready to run. ``delegates``: the parts of the graph that a
    delegate runs; None where nobody asked, or the runtime does not tell.
    """

    event: Literal["load"]
    ns: Nanoseconds
    delegates: Count | None = None


class First(Message):
    """The first inference, where runtimes still pack weights and touch memory, and the most memory
    that the process had in use by then.
    """

    event: Literal["first"]
    ns: Duration
    peak_rss_bytes: Count | None = None


class Output(Message):
    """An output of the first inference; ``base64`` holds its bytes (C order) unless it is large."""

    name: Text
    dtype: Text
    shape: tuple[Count, ...]
    sha256: Digest
    base64: Annotated[str, StringConstraints(max_length=2 << 20)] | None


class Outputs(Message):
    event: Literal["outputs"]
    outputs: tuple[Output, ...]


class Warmup(Message):
    """``stable``: the last two rounds had the same median."""

    event: Literal["warmup"]
    runs: Count
    ns: Nanoseconds
    stable: bool
    median_ns: Nanoseconds
    conditions: Conditions


class Samples(Message):
    """Durations of single inferences, in the order in which they ran."""

    event: Literal["samples"]
    ns: tuple[Duration, ...]


class Reading(Message):
    """The device's state ``ns`` after the measurement began, and what its power chip measures."""

    event: Literal["reading"]
    ns: Nanoseconds
    conditions: Conditions
    watts: Watts | None


class Done(Message):
    """``complete``: the asked runs and seconds were reached before the time was up."""

    event: Literal["done"]
    runs: Count
    ns: Nanoseconds
    complete: bool
    conditions: Conditions


class Instructions(Message):
    """Executed instructions of inferences after the first, by class, in the order of the fields of
    :class:`edgeconv.device.emulated.InstructionCounts`; None where the emulator does not tell.
    """

    event: Literal["instructions"]
    counts: tuple[tuple[Count | None, ...], ...] = Field(min_length=1)


class Tensor(Message):
    """Type and shape of what goes into an operator or comes out of it."""

    dtype: Text
    shape: tuple[Count, ...]


class Operator(Message):
    """A node of the graph that ran, after the runtime's fusions: the median time in its kernel."""

    name: Text
    operator: Text
    ns: Nanoseconds
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Operators(Message):
    event: Literal["operators"]
    operators: tuple[Operator, ...] = Field(min_length=1)


class Failed(Message):
    event: Literal["error"]
    kind: Text
    message: Text
    hint: Text = ""


Event = Annotated[
    Start
    | Load
    | First
    | Outputs
    | Warmup
    | Samples
    | Reading
    | Done
    | Instructions
    | Operators
    | Failed,
    Field(discriminator="event"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
