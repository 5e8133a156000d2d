"""The options of ``edgeconv bench``, and which of them exclude others."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeconv.cli.comparing import max_time_option
from edgeconv.cli.values import FiniteRange, NearChoice, Share, Threads, given_options
from edgeconv.errors import UsageError

if TYPE_CHECKING:
    from edgeconv.bench import BenchOptions
    from edgeconv.bench.journal import Measures

Command = TypeVar("Command", bound=Callable[..., Any])

EMULATED = "emulated:"
RUNTIMES = ("litert", "tflite-runtime", "onnxruntime")
# Options that --operators, --sustained and emulated boards have no use for: the first keeps its own
# time, the second runs one process per file, and an emulated board takes no times.
ADAPTIVE = ("detect", "max_repetitions", "max_time", "gate", "max_regression")
NOT_TOGETHER = ("sustained", "operators", *ADAPTIVE)
NOT_END_TO_END = ("sustained", "operators", "together", "inputs", "gate", "max_regression")
OF_TIME = ("seconds", "resume", "sustained", *ADAPTIVE)
OF_PROCESSES = ("runs", "seconds", "max_seconds", "repetitions", "retries", "resume", *ADAPTIVE)
# Timing options; they have no meaning on an emulated board.
OF_TIMES = (*OF_PROCESSES, "warmup", "threads", "cpus", "sustained", "operators")

_MEASURING = (
    click.option(
        "--runs",
        type=click.IntRange(1),
        default=50,
        show_default=True,
        help="Inferences that each process measures at least.",
    ),
    click.option(
        "--seconds",
        type=FiniteRange(0, 86400),
        default=1.0,
        show_default=True,
        help="Seconds that each process measures at least; --runs must be reached as well.",
    ),
    click.option(
        "--max-seconds",
        type=FiniteRange(0, 86400, min_open=True),
        default=60.0,
        show_default=True,
        help="Seconds after which a process stops, even if --runs is not reached.",
    ),
    click.option(
        "--warmup",
        type=FiniteRange(0, 3600),
        default=0.5,
        show_default=True,
        help="Seconds of warm-up at least; it continues until the latency is stable.",
    ),
    click.option(
        "--repetitions",
        type=click.IntRange(1, 1000),
        default=3,
        show_default=True,
        help="Processes per file, with --operators also per operator of a TFLite file; with "
        "--detect the fewest. Use 8 or more to find differences of a few percent.",
    ),
    click.option(
        "--detect",
        type=Share("percent", "3%", 1.0, inside=True),
        help="Measure until a difference of so much between the files would be found (of one file, "
        "against another such measurement), but no longer than --max-repetitions.",
    ),
    click.option(
        "--max-repetitions",
        type=click.IntRange(1, 1000),
        default=40,
        show_default=True,
        help="Processes per file at most, for --detect and --gate.",
    ),
    max_time_option("--detect and --gate"),
    click.option(
        "--threads",
        type=Threads(),
        default="1",
        show_default=True,
        help="Threads that the runtime uses; several, such as 1,2,4, take turns.",
    ),
    click.option("--cpus", metavar="LIST", help="Run only on these CPUs, such as 0,2."),
    click.option(
        "--runtime",
        type=NearChoice(RUNTIMES),
        help="Use this runtime, not the first one installed. Of a bundle, only the files that it "
        "reads are measured.",
    ),
    click.option(
        "--xnnpack",
        type=click.Choice(("on", "off")),
        help="Let XNNPACK run what it can of the files, or keep it out. By itself LiteRT uses it "
        "and ONNX Runtime does not; few builds of ONNX Runtime have it.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        help="Random seed of the inputs.",
    ),
    click.option(
        "--inputs",
        type=click.Path(path_type=Path),
        help="An .npz file with one array per input, used instead of structured random values. The "
        "arrays have the layout of the model file; for files of a bundle they may also have the "
        "network's own layout.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 100),
        default=2,
        show_default=True,
        help="How often to repeat a process that was disturbed by other load, throttling or a "
        "changing frequency.",
    ),
)


def measuring(command: Command) -> Command:
    """Give a command the options that say how to measure."""
    for option in reversed(_MEASURING):
        command = option(command)
    return command


@dataclass(frozen=True)
class BenchSettings:
    """What ``edgeconv bench`` was asked to do; a field for each of its parameters."""

    paths: tuple[Path, ...]
    devices: tuple[str, ...]
    runs: int
    seconds: float
    max_seconds: float
    warmup: float
    repetitions: int
    detect: float | None
    max_repetitions: int
    max_time: float
    gate: bool
    max_regression: float
    threads: int | tuple[int, ...]
    cpus: str | None
    runtime: str | None
    xnnpack: str | None
    seed: int
    inputs: Path | None
    retries: int
    wait: float
    resume: Path | None
    sustained: str | None
    operators: bool
    wide: bool
    together: bool
    end_to_end: bool
    frame: tuple[int, int]
    no_history: bool
    store: str | None
    out: Path | None
    page: Path | None
    as_json: bool
    quiet: bool

    @property
    def silent(self) -> bool:
        """Whether no progress is shown."""
        return self.quiet or self.as_json

    def bench_options(self) -> BenchOptions:
        """How to measure.

        Raises:
            UsageError: ``cpus`` is not a list of core numbers.
        """
        from edgeconv.bench import BenchOptions
        from edgeconv.device import Runtime

        detect = self.detect
        if self.gate and detect is None:
            detect = self.max_regression
        return BenchOptions(
            repetitions=self.repetitions,
            detect=detect or None,
            max_repetitions=self.max_repetitions,
            max_time=self.max_time,
            in_pairs=self.gate,
            runs=self.runs,
            seconds=self.seconds,
            max_seconds=self.max_seconds,
            warmup=self.warmup,
            threads=self.threads,
            affinity=None if self.cpus is None else _cores(self.cpus),
            runtime=None if self.runtime is None else Runtime(self.runtime),
            xnnpack=None if self.xnnpack is None else self.xnnpack == "on",
            seed=self.seed,
            inputs=self.inputs,
            retries=self.retries,
        )

    def measures(self) -> Measures:
        """What is measured of every file, of that which can be continued."""
        from edgeconv.bench.journal import Kind, Measures

        if self.end_to_end:
            return Measures(kind=Kind.END_TO_END, frame=self.frame)
        return Measures(kind=Kind.TOGETHER if self.together else Kind.LATENCY)

    def sustained_seconds(self) -> float | None:
        """The seconds of ``--sustained``, which is a time such as 5m; None if it was not given.

        Raises:
            UsageError: It is not a time, or not from a second to a day.
        """
        text = self.sustained
        if text is None:
            return None
        match = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)([smh])", text)
        seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
        if not 1 <= seconds <= 86400:
            raise UsageError(
                f"--sustained {text} is not a time from 1s to 24h",
                hint="give a time such as 90s, 5m or 1h",
            )
        return seconds

    def refuse_useless_options(self, address: str) -> None:
        """Refuse options that have no meaning for this measurement on the device of an address.

        Raises:
            UsageError: One was given.
        """
        emulated = address.startswith(EMULATED)
        kinds = {
            "--operators": self.operators,
            "--sustained": self.sustained is not None,
            "--together": self.together,
            "--end-to-end": self.end_to_end,
        }
        kind = next((name for name, given in kinds.items() if given), None)
        if emulated and kind is not None:
            raise UsageError(
                f"{address} counts instructions, it takes no times", hint="name a board"
            )
        if isinstance(self.threads, tuple) and kind is not None:
            raise UsageError(f"{kind} measures one number of threads", hint="give --threads one")
        if self.together:
            _refuse(NOT_TOGETHER, "--together measures every file in pairs of processes")
        if self.end_to_end:
            _refuse(NOT_END_TO_END, "--end-to-end measures frames, which no gate judges")
        elif named := given_options(["frame"]):
            raise UsageError(f"{named[0]} is for --end-to-end", hint="leave it out")
        if self.wide and not self.operators:
            raise UsageError("--wide is for --operators", hint="leave it out")
        if self.operators and self.xnnpack == "on":
            raise UsageError(
                "--operators runs the operators one by one, and XNNPACK knows only some of them",
                hint="leave out --xnnpack on; what XNNPACK ran is marked",
            )
        if self.operators:
            _refuse(OF_TIME, "--operators measures --runs inferences, and half a second at least")
        elif self.sustained is not None:
            _refuse(OF_PROCESSES, "--sustained runs one process of that time per file")
        elif emulated:
            because = f"{address} counts the instructions of single inferences on one thread"
            if self.gate:
                both = f"edgeconv gate NEW --baseline OLD --measure --device {address}"
                raise UsageError(because, hint=f"judge the counts of two bundles with `{both}`")
            _refuse(OF_TIMES, because)


def _refuse(options: tuple[str, ...], because: str) -> None:
    """Raise UsageError if one of the options was given."""
    if named := given_options(options):
        raise UsageError(because, hint=f"leave out {', '.join(named)}")


def _cores(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and int(part) < 4096 for part in parts):
        raise UsageError(
            f"--cpus {text} is not a list of core numbers",
            hint="give numbers with commas between them, such as 0,2",
        )
    return tuple(int(part) for part in parts)
