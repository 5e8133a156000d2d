"""What travels between host and runner: one request, then events. Their content is not trusted."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter

from edgeconv.printable import printable
from edgeconv.versioned import Record


class Runtime(str, Enum):
    """An inference runtime, by the name that people use."""

    LITERT = "litert"
    TFLITE_RUNTIME = "tflite-runtime"
    ONNXRUNTIME = "onnxruntime"

    @property
    def suffix(self) -> str:
        """The suffix of the files that it reads."""
        return ".onnx" if self is Runtime.ONNXRUNTIME else ".tflite"


Text = Annotated[str, StringConstraints(max_length=4096), AfterValidator(printable)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Nanoseconds = Annotated[int, Field(ge=0, lt=2**63)]
Duration = Annotated[int, Field(gt=0, lt=2**63)]  # no inference takes no time: logarithms follow
Count = Annotated[int, Field(ge=0, lt=2**63)]
Cores = Annotated[int, Field(ge=1, le=1_000_000)]
Celsius = Annotated[float, Field(ge=-1000, le=10_000)]
Bits = Annotated[Text, StringConstraints(max_length=64)]
PER_CORE = 8192  # figures of so many cores
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Watts = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Message(Record):
    """Base of everything that travels between host and runner."""


class RunRequest(Message):
    """What the runner shall measure. Paths are the device's; times are seconds.

    Attributes:
        protocol: The version of these messages.
        model: An .onnx or .tflite file.
        runtime: None is the first installed one that reads the file.
        threads: Threads of the runtime.
        affinity: CPUs to run on; None is all.
        warmup_seconds: Least time of the warm-up.
        warmup_runs: Least inferences of the warm-up.
        stability: How much the last two quarters of the warm-up may differ, as a fraction.
        min_runs: Least inferences to measure; how many to count or to profile.
        min_seconds: Least time to measure.
        max_seconds: Longest time to measure, reached or not.
        deadline_seconds: The runner ends itself after that time, whatever happens.
        seed: Seed of the structured values that go in where there are no ``inputs``.
        inputs: An .npz file with an array per input.
        channels_first: Inputs whose arrays may be NCHW although the model takes NHWC.
        pixels: Float inputs that take the bytes of pictures, as numbers from 0 to 255.
        log: A file that gets the events, too.
        counts: The file of an emulator that counts instructions; nothing is timed then.
        reading_seconds: Report the device's state that often; 0 is never.
        power: Also report what the power chip measures with each of them, which takes a while.
        operators: Also report the profile of an ONNX file's operators; of a TFLite
            file also how many parts of it a delegate takes.
        xnnpack: Whether XNNPACK may run the model; None is what the runtime does by itself.
        batches: Nothing is timed: ``inputs`` has so many batches along a new first axis, and the
            whole outputs of each are reported.
        script: A bundle's script; timed is what it does around the model, from a frame to the
            decoded answer.
        script_file: The model's name in that script.
        frame: The width and height of a frame.
    """

    protocol: Literal[1] = 1
    model: str
    runtime: Runtime | None = None
    threads: int = Field(default=1, ge=1)
    affinity: tuple[int, ...] | None = None
    warmup_seconds: Seconds = 0.5
    warmup_runs: int = Field(default=5, ge=0)
    stability: float = Field(default=0.0025, gt=0)
    min_runs: int = Field(default=50, ge=1)
    min_seconds: Seconds = 1.0
    max_seconds: Seconds = 60.0
    deadline_seconds: int = Field(default=600, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    inputs: str | None = None
    channels_first: tuple[str, ...] = ()
    pixels: tuple[str, ...] = ()
    log: str | None = None
    counts: str | None = None
    reading_seconds: Seconds = 0.0
    power: bool = False
    operators: bool = False
    batches: int = Field(default=0, ge=0)
    xnnpack: bool | None = None
    script: str | None = None
    script_file: str = ""
    frame: tuple[int, int] = (0, 0)


class Machine(Message):
    """The device as the runner finds it; None where the system does not say.

    ``cpu_quota`` is the number of cores whose time a container may use; None is no limit.
    """

    architecture: Text
    system: Text
    libc: Text
    board: Text | None
    cpu: Text | None
    cores: Cores | None
    cores_allowed: Cores
    memory_bytes: Count | None
    governor: Text | None
    cpu_quota: Annotated[float, Field(ge=0.001, allow_inf_nan=False)] | None = None


class Conditions(Message):
    """The device's state at one moment.

    Attributes:
        own_cpu_seconds: CPU time of the process so far.
        all_cpu_seconds: CPU time of the system so far, all cores together.
        stolen_seconds: Time that a hypervisor took from the system so far.
        peak_rss_bytes: The most memory that the process had in use so far.
        busy_seconds: CPU time of each core whose frequency is reported; empty where not known.
        stopped_seconds: Time that a CPU quota stopped the container so far.
        suspended_seconds: Time that the system was suspended so far.
        continued: How often the process was continued after a signal had stopped it.
    """

    load_average: Seconds
    frequencies_hz: tuple[Count, ...] = Field(max_length=PER_CORE)
    temperature_c: Celsius | None
    throttled: Bits | None
    own_cpu_seconds: Seconds
    all_cpu_seconds: Seconds
    stolen_seconds: Seconds
    peak_rss_bytes: Count | None
    busy_seconds: tuple[Seconds, ...] = Field(default=(), max_length=PER_CORE)
    stopped_seconds: Seconds = 0.0
    suspended_seconds: Seconds = 0.0
    continued: Count = 0


class Start(Message):
    """The runtime is there, and the model will be loaded next."""

    event: Literal["start"]
    protocol: Literal[1]
    runtime: Runtime
    runtime_version: Text
    python: Text
    numpy: Text
    machine: Machine
    conditions: Conditions


class Load(Message):
    """The file is read and ready to run.

    Attributes:
        ns: How long that took.
        delegates: Parts of the graph that a delegate runs; None where it was not asked for, or
            where the runtime does not say.
    """

    event: Literal["load"]
    ns: Nanoseconds
    delegates: Count | None = None


class First(Message):
    """The first inference, in which runtimes still pack weights and touch memory.

    Attributes:
        ns: Its duration.
        peak_rss_bytes: The most memory that the process had in use by then.
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
    """The outputs of the first inference."""

    event: Literal["outputs"]
    outputs: tuple[Output, ...] = Field(min_length=1)


class Values(Message):
    """The next bytes of an output that is too large for its description; they come in order."""

    event: Literal["values"]
    base64: Annotated[str, StringConstraints(max_length=2 << 20)]


class Computed(Message):
    """The end of a process that only computed."""

    event: Literal["computed"]
    batches: Count


class Warmup(Message):
    """The end of the warm-up.

    Attributes:
        runs: Inferences in it.
        ns: How long it took.
        stable: Whether its last two quarters took equally long.
        median_ns: The median of the last round.
    """

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
    """The device's state ``ns`` after the measurement began, and what its power chip measured."""

    event: Literal["reading"]
    ns: Nanoseconds
    conditions: Conditions
    watts: Watts | None


class Done(Message):
    """The end of the measurement.

    Attributes:
        complete: Whether the asked runs and seconds were reached before the time was up.
    """

    event: Literal["done"]
    runs: Count
    ns: Nanoseconds
    complete: bool
    conditions: Conditions


class Instructions(Message):
    """Executed instructions of inferences after the first, by class.

    The classes are the fields of :class:`edgeconv.device.emulated.InstructionCounts`, in that
    order; None where the emulator does not count one.
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
    """The profile of a graph, in the order in which its operators run."""

    event: Literal["operators"]
    operators: tuple[Operator, ...] = Field(min_length=1)


class Steps(Message):
    """The median time of each step from a camera's frame to the decoded answer, in order.

    Attributes:
        frame: A picture is made of the frame's bytes.
        preparation: Resize, crop and normalization.
        input: Quantization, layout, and the copy to the runtime.
        inference: The model runs.
        output: The copy from the runtime, and dequantization.
        answer: The outputs become classes, boxes or a mask.
    """

    event: Literal["steps"]
    frame: Nanoseconds
    preparation: Nanoseconds
    input: Nanoseconds
    inference: Nanoseconds
    output: Nanoseconds
    answer: Nanoseconds


class Failed(Message):
    """The last event of a runner that gave up: a kind for programs, words for people."""

    event: Literal["error"]
    kind: Text
    message: Text
    hint: Text = ""


Event = Annotated[
    Start
    | Load
    | First
    | Outputs
    | Values
    | Computed
    | Warmup
    | Samples
    | Reading
    | Done
    | Instructions
    | Operators
    | Steps
    | Failed,
    Field(discriminator="event"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
