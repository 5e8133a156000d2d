"""``edgeconv bench``: latency of model files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from edgeconv.errors import MeasurementError, UsageError

if TYPE_CHECKING:
    from edgeconv.bench import BenchOptions, BenchResult, Journal
    from edgeconv.bench.instructions import CountResult
    from edgeconv.bench.operators import OperatorResult
    from edgeconv.bench.sustained import SustainedResult

RUNTIMES = ("litert", "tflite-runtime", "onnxruntime")
# They say how to take times, of which an emulated board has none worth telling.
OF_TIMES = (
    "runs",
    "seconds",
    "max_seconds",
    "warmup",
    "repetitions",
    "threads",
    "cpus",
    "retries",
    "resume",
    "sustained",
    "operators",
)
OF_REPETITIONS = ("repetitions", "seconds", "retries", "resume", "sustained")
OF_PROCESSES = ("runs", "seconds", "max_seconds", "repetitions", "retries", "resume")


@click.command("bench")
@click.argument("paths", metavar="FILE|BUNDLE...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=("local",),
    show_default=True,
    help="local, local:PYTHON, ssh://[user@]host[:port][/PYTHON], a name in devices.toml, or "
    "emulated:BOARD (pi3, pi3-32, pi4, pi5), which counts instructions. Several are measured side "
    "by side; --out is a folder then.",
)
@click.option(
    "--runs", type=click.IntRange(1), default=50, show_default=True, help="Least runs a process."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 86400),
    default=1.0,
    show_default=True,
    help="Least seconds of measurement a process, beside the runs.",
)
@click.option(
    "--max-seconds",
    type=click.FloatRange(0, 86400, min_open=True),
    default=60.0,
    show_default=True,
    help="Most seconds of measurement a process, whatever the runs.",
)
@click.option(
    "--warmup",
    type=click.FloatRange(0, 3600),
    default=0.5,
    show_default=True,
    help="Least seconds of warm-up; it goes on until the latency is stable.",
)
@click.option(
    "--repetitions",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="Processes a file; use 5 or more to find differences of a few percent.",
)
@click.option(
    "--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="Of the runtime."
)
@click.option("--cpus", metavar="LIST", help="Run on these cores alone, such as 0,2.")
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    help="Instead of the first installed one; of a bundle, measure only the files it reads.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the inputs and of the bootstrap.",
)
@click.option(
    "--inputs",
    type=click.Path(path_type=Path),
    help="An .npz file with one array an input, instead of structured random values.",
)
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=2,
    show_default=True,
    help="Times to repeat a process that was disturbed: by load, throttling, changing frequencies.",
)
@click.option(
    "--resume",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Go on with a measurement that was cut short; it said where it is kept.",
)
@click.option(
    "--sustained",
    metavar="TIME",
    help="Throughput against temperature over a time such as 5m, 90s or 1h, a process a file.",
)
@click.option(
    "--operators",
    is_flag=True,
    help="Time of each operator instead: from ONNX Runtime's profile, or of a TFLite file's "
    "operators one by one.",
)
@click.option("--no-history", is_flag=True, help="Do not keep the result for `edgeconv history`.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write the result as JSON here.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON instead of the table.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(
    paths: tuple[Path, ...],
    devices: tuple[str, ...],
    runs: int,
    seconds: float,
    max_seconds: float,
    warmup: float,
    repetitions: int,
    threads: int,
    cpus: str | None,
    runtime: str | None,
    seed: int,
    inputs: Path | None,
    retries: int,
    resume: Path | None,
    sustained: str | None,
    operators: bool,
    no_history: bool,
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure the latency of model files; of a BUNDLE, of all its files.

    Every file is measured in several processes of its own, in turns with the others. The median
    stands with its 95 % confidence interval.

    On an emulated board the instructions of one inference are counted instead, on one thread.
    """
    from edgeconv.bench import BenchOptions
    from edgeconv.bench.sustained import SustainedResult
    from edgeconv.cli import bench_session
    from edgeconv.cli.bench_fleet import bench_side_by_side
    from edgeconv.device import Runtime
    from edgeconv.device.names import address_of

    if len(devices) > 1:
        bench_side_by_side(devices, out, quiet)
        return
    device = address_of(devices[0])
    options = BenchOptions(
        repetitions=repetitions,
        runs=runs,
        seconds=seconds,
        max_seconds=max_seconds,
        warmup=warmup,
        threads=threads,
        affinity=_cores(cpus),
        runtime=Runtime(runtime) if runtime else None,
        seed=seed,
        inputs=inputs,
        retries=retries,
    )
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UsageError(f"{out} cannot be written: its folder is missing, or it is a folder")
    result: BenchResult | CountResult | SustainedResult | OperatorResult
    if operators:
        _refuse("--operators is one process a file", device, OF_REPETITIONS)
        result = _profile(_files(paths, options), options, device, quiet)
        if out is not None:
            result.save(out)
    elif sustained is not None:
        _refuse("--sustained is one process of that time", device, OF_PROCESSES)
        result = _sustain(_files(paths, options), options, _seconds(sustained), device, quiet)
        if out is not None:
            result.save(out)
    elif resume is not None:
        begun = bench_session.resume(resume, options, _given())
        if "devices" in _given() and device != begun.session.device:
            raise UsageError(f"{resume} was begun on {begun.session.device}, not on {device}")
        files = _files(paths, begun.session.options) if paths else list(begun.session.paths)
        result = _measure(files, begun, quiet, not no_history, out or begun.session.out)
    elif not paths:
        raise click.MissingParameter(param_type="argument", param_hint="'FILE|BUNDLE...'")
    elif device.startswith("emulated:"):
        _refuse_options_of_times(device)
        result = _count(_files(paths, options), options, device, quiet)
        if out is not None:
            result.save(out)
    else:
        files = _files(paths, options)
        begun = bench_session.begin(files, options, device, out)
        result = _measure(files, begun, quiet, not no_history, out)
    if as_json:
        click.echo(result.model_dump_json(indent=1))
    else:
        _print(result)
    if isinstance(result, SustainedResult) and result.models[-1].cut is not None:
        raise MeasurementError(f"{result.models[-1].file.name}: {result.models[-1].cut}")


def _given() -> set[str]:
    """Names of the parameters on the command line."""
    context = click.get_current_context()
    return {
        name
        for name in context.params
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def _files(paths: tuple[Path, ...], options: BenchOptions) -> list[Path]:
    """The files named, and those of the bundles named."""
    from edgeconv.bundle import MANIFEST_NAME, Bundle

    files: list[Path] = []
    for path in paths:
        if path.name == MANIFEST_NAME:
            raise UsageError(f"{path} is a bundle's manifest; name the folder {path.parent}")
        if not path.is_dir():
            files.append(path)
            continue
        bundle = Bundle.load(path)
        inside = [bundle.file(artifact) for artifact in bundle.manifest.artifacts]
        if options.runtime is not None:
            inside = [file for file in inside if file.suffix == options.runtime.suffix]
        if not inside:
            raise UsageError(f"{path} has no file to measure with these options")
        files += inside
    return files


def _cores(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and int(part) < 4096 for part in parts):
        raise UsageError(f"--cpus {text}: give core numbers with commas between, such as 0,2")
    return tuple(int(part) for part in parts)


def _measure(
    files: list[Path], journal: Journal, quiet: bool, remember: bool, out: Path | None
) -> BenchResult:
    """Measure what the journal says and lacks; it goes when the result is kept elsewhere."""
    from edgeconv.bench import Progress
    from edgeconv.cli import bench_session
    from edgeconv.report.tables import printable, progress

    total = len(files) * journal.session.options.repetitions
    with bench_session.keeping(journal, total):
        with progress(quiet) as bar:
            task = bar.add_task("Measuring", total=total)

            def show(step: Progress) -> None:
                name = printable(step.file.name)
                bar.update(task, completed=step.index, description=f"Measuring {name}")

            result = bench_session.measure_all(files, journal, show)
        if remember:
            _remember(result)
        if out is not None:
            result.save(out)
    journal.remove()
    return result


def _count(files: list[Path], options: BenchOptions, device: str, quiet: bool) -> CountResult:
    from edgeconv.bench import Progress
    from edgeconv.bench.instructions import CountOptions, count
    from edgeconv.device.emulated import EmulatedDevice
    from edgeconv.report.tables import printable, progress

    asked = CountOptions(runtime=options.runtime, seed=options.seed, inputs=options.inputs)
    board = EmulatedDevice.parse(device)
    with progress(quiet) as bar:
        task = bar.add_task("Counting", total=len(files))

        def show(step: Progress) -> None:
            bar.update(
                task, completed=step.index, description=f"Counting {printable(step.file.name)}"
            )

        return count(files, asked, board, show)


def _sustain(
    files: list[Path], options: BenchOptions, seconds: float, device: str, quiet: bool
) -> SustainedResult:
    from edgeconv.bench import Progress
    from edgeconv.bench.sustained import sustain
    from edgeconv.device import open_device
    from edgeconv.report.tables import printable, progress

    with progress(quiet) as bar:
        task = bar.add_task("Sustaining", total=len(files))

        def show(step: Progress) -> None:
            name = printable(step.file.name)
            bar.update(task, completed=step.index, description=f"Sustaining {name}")

        return sustain(files, options, seconds, open_device(device), show)


def _seconds(text: str) -> float:
    """Of a time such as 5m."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)([smh])", text)
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not 1 <= seconds <= 86400:
        raise UsageError(f"--sustained {text}: give a time from 1s to 24h, such as 90s, 5m or 1h")
    return seconds


def _profile(files: list[Path], options: BenchOptions, device: str, quiet: bool) -> OperatorResult:
    from edgeconv.bench.operators import profile
    from edgeconv.device import open_device
    from edgeconv.report.tables import progress

    with progress(quiet) as bar:
        task = bar.add_task("Profiling", total=len(files))
        return profile(
            files, options, open_device(device), lambda step: bar.update(task, completed=step.index)
        )


def _refuse(what: str, device: str, options: tuple[str, ...]) -> None:
    if device.startswith("emulated:"):
        raise UsageError(f"{device} counts instructions, it takes no times; name a board")
    present = _given()
    given = [f"--{name.replace('_', '-')}" for name in options if name in present]
    if given:
        raise UsageError(f"{what}; leave out {', '.join(given)}")


def _refuse_options_of_times(device: str) -> None:
    present = _given()
    given = [f"--{name.replace('_', '-')}" for name in OF_TIMES if name in present]
    if given:
        raise UsageError(
            f"{device} counts the instructions of single inferences on one thread; leave out "
            + ", ".join(given)
        )


def _remember(result: BenchResult) -> None:
    """Keep the result in the history; a history that cannot be written must not cost the result."""
    from edgeconv.bench.history import History, current_revision, default_path
    from edgeconv.report.tables import error_console, printable

    try:
        History(default_path()).add(result, current_revision(Path.cwd()))
    except (MeasurementError, OSError) as error:
        error_console().print(f"note: not kept in the history: {printable(str(error))}")


def _print(result: BenchResult | CountResult | SustainedResult | OperatorResult) -> None:
    from edgeconv.bench import BenchResult
    from edgeconv.bench.operators import OperatorResult
    from edgeconv.bench.sustained import SustainedResult
    from edgeconv.report import instructions, latency, operators, sustained
    from edgeconv.report.tables import console, error_console, printable

    if isinstance(result, BenchResult):
        drawn, notes = latency.latency_table(result), latency.notes(result)
    elif isinstance(result, SustainedResult):
        drawn, notes = sustained.sustained_table(result), sustained.notes(result)
    elif isinstance(result, OperatorResult):
        drawn, notes = operators.operators_table(result), operators.notes(result)
    else:
        drawn, notes = instructions.counts_table(result), instructions.notes(result)
    console().print(drawn)
    for note in notes:
        error_console().print(f"note: {printable(note)}")
