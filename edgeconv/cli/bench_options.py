"""The options of ``edgeconv bench`` that say how to measure, and which of them exclude others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from edgeconv.errors import UsageError

if TYPE_CHECKING:
    from edgeconv.bench import BenchOptions

Command = TypeVar("Command", bound=Callable[..., Any])

EMULATED = "emulated:"
RUNTIMES = ("litert", "tflite-runtime", "onnxruntime")
# Each of these asks for something that one process a file, or no process, cannot give.
OF_REPETITIONS = ("repetitions", "seconds", "retries", "resume", "sustained")
OF_PROCESSES = ("runs", "seconds", "max_seconds", "repetitions", "retries", "resume")
# They say how to take times, of which an emulated board has none worth telling.
OF_TIMES = (*OF_PROCESSES, "warmup", "threads", "cpus", "sustained", "operators")

_MEASURING = (
    click.option(
        "--runs",
        type=click.IntRange(1),
        default=50,
        show_default=True,
        help="Least runs a process.",
    ),
    click.option(
        "--seconds",
        type=click.FloatRange(0, 86400),
        default=1.0,
        show_default=True,
        help="Least seconds of measurement a process, beside the runs.",
    ),
    click.option(
        "--max-seconds",
        type=click.FloatRange(0, 86400, min_open=True),
        default=60.0,
        show_default=True,
        help="Most seconds of measurement a process, whatever the runs.",
    ),
    click.option(
        "--warmup",
        type=click.FloatRange(0, 3600),
        default=0.5,
        show_default=True,
        help="Least seconds of warm-up; it goes on until the latency is stable.",
    ),
    click.option(
        "--repetitions",
        type=click.IntRange(1, 1000),
        default=3,
        show_default=True,
        help="Processes a file; use 5 or more to find differences of a few percent.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1, 1024),
        default=1,
        show_default=True,
        help="Of the runtime.",
    ),
    click.option("--cpus", metavar="LIST", help="Run on these CPUs alone, such as 0,2."),
    click.option(
        "--runtime",
        type=click.Choice(RUNTIMES),
        help="Instead of the first installed one; of a bundle, measure only the files it reads.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        help="Of the inputs and of the bootstrap.",
    ),
    click.option(
        "--inputs",
        type=click.Path(path_type=Path),
        help="An .npz file with one array an input, instead of structured random values. Files of "
        "a bundle take the network's layout or their own, others their own.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 100),
        default=2,
        show_default=True,
        help="Times to repeat a process that was disturbed: by load, throttling, changing "
        "frequencies.",
    ),
)


def measuring(command: Command) -> Command:
    """Give a command the options that :func:`bench_options` reads."""
    for option in reversed(_MEASURING):
        command = option(command)
    return command


def bench_options(values: Mapping[str, Any]) -> BenchOptions:
    """From the values of the options of :func:`measuring`, by their names.

    Raises:
        UsageError: ``cpus`` is no list of cores.
    """
    from edgeconv.bench import BenchOptions
    from edgeconv.device import Runtime

    rest = {name: value for name, value in values.items() if name not in ("cpus", "runtime")}
    runtime = values["runtime"]
    return BenchOptions(
        **rest, affinity=_cores(values["cpus"]), runtime=Runtime(runtime) if runtime else None
    )


def given() -> set[str]:
    """Names of the parameters on the command line."""
    context = click.get_current_context()
    return {
        name
        for name in context.params
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def refuse_options(device: str, *, operators: bool, sustained: bool) -> None:
    """Refuse options that a kind of measurement, or a device (an address), has no use for.

    Raises:
        UsageError: there is one.
    """
    emulated = device.startswith(EMULATED)
    if emulated and (operators or sustained):
        raise UsageError(f"{device} counts instructions, it takes no times; name a board")
    if operators:
        refuse(OF_REPETITIONS, "--operators is one process a file")
    elif sustained:
        refuse(OF_PROCESSES, "--sustained is one process of that time")
    elif emulated:
        refuse(OF_TIMES, f"{device} counts the instructions of single inferences on one thread")


def refuse(options: tuple[str, ...], because: str) -> None:
    """Raise UsageError if one of the options was given."""
    present = given()
    named = [f"--{name.replace('_', '-')}" for name in options if name in present]
    if named:
        raise UsageError(f"{because}; leave out {', '.join(named)}")


def _cores(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and int(part) < 4096 for part in parts):
        raise UsageError(f"--cpus {text}: give core numbers with commas between, such as 0,2")
    return tuple(int(part) for part in parts)
