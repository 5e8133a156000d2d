"""What a sweep tries and what it looks for: a TOML file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from edgeconv.bench.result import BenchOptions, Threads
from edgeconv.bundle import Format, Precision
from edgeconv.errors import UsageError
from edgeconv.export.capture.input_shape import parse_size
from edgeconv.export.quantize_options import MAX_EFFORT, RangeMethod
from edgeconv.sweep.confidence import Confidence
from edgeconv.toml_file import read_toml
from edgeconv.units import bytes_of, seconds_of
from edgeconv.user_folders import stated_path
from edgeconv.versioned import Record, first_problem, near_hint

EXAMPLE = """\
# A plan of `edgeconv sweep`. Paths are relative to this file; ~ is the home folder.

[[model]]                          # repeatable
name = "mobilenet_v2"              # as MODEL of `edgeconv export`, or a list; "mobilenet_v*" and
                                   # "timm:mobilenetv3_*" are patterns
args = { num_classes = 10, width_mult = [0.35, 0.5] }    # each value of a list is tried
input_size = [64, "96x128"]        # each size is tried
# weights = "trained/{name}-{width_mult}.safetensors"    # by the values that are tried

[export]
formats = ["tflite"]
precisions = ["float32", "int8"]
# targets = ["ssh://pi@10.0.0.7"]  # as --target of `edgeconv export`; each is tried
efforts = [1]
ranges = ["auto"]
calibration = "random"             # as --calibration of `edgeconv export`
calibration_size = 32
# calibration_shards = 8           # parts that are calibrated on at the same time

[measure]
devices = ["local"]                # as --device of `edgeconv bench`, or pools of devices.toml
threads = [1, 4]
repetitions = 3
seconds = 1.0
wait = "10min"                     # how long to wait for a board that others measure on

# [count]
# devices = ["emulated:pi4"]       # executed instructions on emulated boards

# [evaluate]
# data = "validation"              # as --data of `edgeconv evaluate`
# task = "classification"
# shards = 8                       # parts that run at the same time

# [[model]]                        # all stages of a network with early exits
# name = "resnet_early_exit"
# args = { num_classes = 10, input_size = 64, stage = [0, 1, 2] }

# [early_exit]                     # tries them as a chain, with thresholds
# confidence = ["probability"]     # "margin", "entropy"
# points = 12                      # rows of a chain

# [question]                       # without it, everything on the front is shown as an answer
# max_latency = "33ms"
# max_size = "5MB"
# max_memory = "100MB"
"""

HINT = "`edgeconv sweep --example` prints a plan"
Value = str | int | float | bool


def _argument(value: object) -> object:
    """Refuse what no argument can be, in words of its own: pydantic names one type of four."""
    finite = not isinstance(value, float) or math.isfinite(value)
    if not (isinstance(value, (str, int, float)) and finite):
        raise ValueError("an argument is a text, a finite number, true or false")
    return value


def _size(value: object) -> object:
    """Refuse what is no size of an input."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError('a size is a whole number, or a text such as "96x128"')
    try:
        parse_size(str(value))
    except UsageError as error:
        raise ValueError(error.message) from error
    return value


def _listed(value: object) -> object:
    return value if isinstance(value, (list, tuple)) else (value,)


Duration = Annotated[float, BeforeValidator(seconds_of)]
Size = Annotated[int, BeforeValidator(bytes_of)]
Argument = Annotated[Value, BeforeValidator(_argument)]
InputSize = Annotated[int | str, BeforeValidator(_size)]
Name = Annotated[str, Field(min_length=1)]
OneOrMore = BeforeValidator(_listed)


class _Table(Record):
    """A table of the plan."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _each_once(cls, value: Any) -> Any:
        for name, listed in value.items() if isinstance(value, dict) else [("", value)]:
            if not isinstance(listed, tuple):
                continue
            where = f"{name}: " if name else ""
            if not listed:
                raise ValueError(f"{where}the list is empty")
            twice = [each for index, each in enumerate(listed) if each in listed[:index]]
            if twice:
                raise ValueError(f"{where}{twice[0]!r} is listed twice")
        return value


class Models(_Table):
    """Networks, and what each of them is made with; every combination is tried."""

    name: Annotated[tuple[Name, ...], OneOrMore]
    args: dict[str, Annotated[tuple[Argument, ...], OneOrMore]] = Field(default_factory=dict)
    input_size: Annotated[tuple[InputSize, ...], OneOrMore] | None = None
    weights: str | None = None
    pretrained: bool = False


class Exports(_Table):
    """How every network is exported; every combination is tried.

    ``formats`` None are both, or those that a target runs.
    """

    formats: tuple[Format, ...] | None = None
    precisions: tuple[Precision, ...] = (Precision.FLOAT32,)
    efforts: tuple[Annotated[int, Field(strict=True, ge=0, le=MAX_EFFORT)], ...] = (1,)
    ranges: tuple[RangeMethod, ...] = (RangeMethod.AUTO,)
    targets: tuple[str, ...] | None = None
    calibration: str | None = None
    calibration_size: int = Field(strict=True, default=128, ge=1)
    calibration_shards: int = Field(strict=True, default=1, ge=1, le=10_000)


class Measures(_Table):
    """Where latencies are measured, and how."""

    devices: tuple[str, ...]
    threads: tuple[Threads, ...] = (1,)
    repetitions: int = Field(strict=True, default=3, ge=1, le=1000)
    runs: int = Field(strict=True, default=50, ge=1)
    seconds: float = Field(strict=True, default=1.0, ge=0)
    warmup: float = Field(strict=True, default=0.5, ge=0)
    wait: Duration = 600.0

    @property
    def options(self) -> BenchOptions:
        """The same for a measurement."""
        threads = self.threads[0] if len(self.threads) == 1 else self.threads
        return BenchOptions(
            threads=threads,
            repetitions=self.repetitions,
            runs=self.runs,
            seconds=self.seconds,
            warmup=self.warmup,
        )


class CountsOn(_Table):
    """Emulated boards on which instructions are counted."""

    devices: tuple[Annotated[str, Field(pattern=r"^emulated:.+")], ...]


class Evaluates(_Table):
    """The data that decides about accuracy, and in how many parts it is counted."""

    data: Path
    task: str = "classification"
    truth: Path | None = None
    shards: int = Field(default=1, ge=1, le=10_000)


class EarlyExits(_Table):
    """Networks that are tried as chains of stages: those whose ``argument`` lists all stages.

    Each chain gives up to ``points`` rows for each confidence.
    """

    argument: str = "stage"
    confidence: tuple[Confidence, ...] = (Confidence.PROBABILITY,)
    points: int = Field(default=12, ge=1, le=1000)


class Question(_Table):
    """What an answer has to keep to."""

    max_latency: Duration | None = None
    max_size: Size | None = None
    max_memory: Size | None = None


class Plan(_Table):
    """All of a plan. ``model`` is the TOML file's array of tables."""

    model: tuple[Models, ...]
    export: Exports = Exports()
    measure: Measures | None = None
    count: CountsOn | None = None
    evaluate: Evaluates | None = None
    early_exit: EarlyExits | None = None
    question: Question = Question()


def read_plan(path: Path) -> Plan:
    """Read a plan; its paths become those of this process.

    Raises:
        UsageError: The file or something in it is not what it should be.
    """
    try:
        plan = Plan.model_validate(read_toml(path, hint=HINT))
    except ValidationError as error:
        problem = first_problem(error).replace("Value error, ", "")  # pydantic's prefix
        hint = near_hint(error, Plan, HINT)
        raise UsageError(f"{path}: {problem}", hint=hint) from error
    plan = _placed(plan, path.absolute().parent)
    needs = [p.value for p in plan.export.precisions if p.calibrated]
    if needs and plan.export.calibration is None:
        raise UsageError(
            f"{path}: export.calibration: {needs[0]} needs calibration data", hint="name it"
        )
    if plan.question.max_latency is not None and plan.measure is None:
        raise UsageError(
            f"{path}: question.max_latency: nothing is measured",
            hint="write [measure] with devices",
        )
    _check_chains(plan, path)
    return plan


def _check_chains(plan: Plan, path: Path) -> None:
    """Refuse early exits that nothing is known of.

    Raises:
        UsageError: It is so.
    """
    if plan.early_exit is None:
        return
    name = plan.early_exit.argument
    if plan.evaluate is None or plan.evaluate.task != "classification":
        raise UsageError(
            f"{path}: early_exit: thresholds are found on classified data",
            hint="write [evaluate] with data, of the task classification",
        )
    if plan.measure is None and plan.count is None:
        raise UsageError(
            f"{path}: early_exit: no stage has a cost",
            hint="write [measure] or [count] with devices",
        )
    listed = [models.args[name] for models in plan.model if name in models.args]
    if not listed:
        raise UsageError(
            f"{path}: early_exit: no model has the argument {name}",
            hint=f"write args = {{ {name} = [0, 1] }}, with all stages",
        )
    for stages in listed:
        if len(stages) < 2 or [repr(stage) for stage in stages] != [*map(repr, range(len(stages)))]:
            raise UsageError(
                f"{path}: model.args: {name} is not the stages of a chain",
                hint="list all of them in their order: [0, 1], and so on",
            )


def _placed(plan: Plan, folder: Path) -> Plan:
    """The plan with absolute paths, so that any process in any folder can use them."""
    models = tuple(
        model.model_copy(
            update={
                "name": tuple(spec_at(name, folder) for name in model.name),
                "weights": model.weights and str(folder / stated_path(model.weights)),
            }
        )
        for model in plan.model
    )
    calibration, evaluate = plan.export.calibration, plan.evaluate
    if calibration not in (None, "random"):
        calibration = spec_at(str(calibration), folder, must=True)
    if evaluate is not None:
        truth = evaluate.truth and folder / stated_path(str(evaluate.truth))
        detection = "detection:" if evaluate.task.startswith("detection:") else ""
        task = detection + spec_at(evaluate.task.removeprefix(detection), folder)
        evaluate = evaluate.model_copy(
            update={
                "data": folder / stated_path(str(evaluate.data)),
                "truth": truth,
                "task": task,
            }
        )
    export = plan.export.model_copy(update={"calibration": calibration})
    return plan.model_copy(update={"model": models, "export": export, "evaluate": evaluate})


def spec_at(spec: str, folder: Path, *, must: bool = False) -> str:
    """A specification whose file, if it names one, is an absolute path."""
    file, colon, rest = spec.partition(":")
    is_file = Path(file).suffix in (".py", ".onnx", ".pt2")
    return f"{folder / stated_path(file)}{colon}{rest}" if is_file or must else spec
