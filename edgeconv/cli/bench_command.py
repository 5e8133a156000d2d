"""``edgeconv bench``: latency of model files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeconv.cli.bench_options import (
    EMULATED,
    bench_options,
    given,
    measuring,
    refuse_options,
)
from edgeconv.errors import MeasurementError, UsageError

if TYPE_CHECKING:
    from edgeconv.bench import BenchOptions, BenchResult
    from edgeconv.bench.instructions import CountResult
    from edgeconv.bench.profile.profile import OperatorResult
    from edgeconv.bench.sustained import SustainedResult


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
@measuring
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
    help="Time of each operator instead, and how fast a known board could run it: from ONNX "
    "Runtime's profile, or of a TFLite file's operators one by one.",
)
@click.option("--no-history", is_flag=True, help="Do not keep the result for `edgeconv history`.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write the result as JSON here.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON instead of the table.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(
    paths: tuple[Path, ...],
    devices: tuple[str, ...],
    resume: Path | None,
    sustained: str | None,
    operators: bool,
    no_history: bool,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    **measurement: Any,
) -> None:
    """Measure the latency of model files; of a BUNDLE, of all its files.

    Every file is measured in several processes of its own, in turns with the others. The median
    stands with its 95 % confidence interval.

    On an emulated board the instructions of one inference are counted instead, on one thread.
    """
    from edgeconv.bench.protocol import check_files
    from edgeconv.bench.sustained import SustainedResult
    from edgeconv.cli import bench_runs, bench_session
    from edgeconv.cli.bench_fleet import bench_side_by_side
    from edgeconv.device.names import address_of

    options = bench_options(measurement)
    addresses = [address_of(device) for device in devices]
    for address in addresses:
        refuse_options(address, operators=operators, sustained=sustained is not None)
    if sustained is not None:
        bench_runs.sustained_seconds(sustained)
    if len(devices) > 1:
        if resume is None:
            check_files(_files(paths, options), options)
        bench_side_by_side(devices, out, quiet)
        return
    (device,) = addresses
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UsageError(f"{out} cannot be written: its folder is missing, or it is a folder")
    result: BenchResult | CountResult | SustainedResult | OperatorResult
    if operators:
        result = bench_runs.profile_on(_files(paths, options), options, device, quiet, out)
    elif sustained is not None:
        files = _files(paths, options)
        result = bench_runs.sustain_on(files, options, sustained, device, quiet, out)
    elif resume is not None:
        begun = bench_session.resume(resume, options, given())
        if "devices" in given() and device != begun.session.device:
            raise UsageError(f"{resume} was begun on {begun.session.device}, not on {device}")
        files = _files(paths, begun.session.options) if paths else list(begun.session.paths)
        out = out or begun.session.out
        result = bench_runs.measure(files, begun, quiet, out, remember=not no_history)
    elif not paths:
        raise click.MissingParameter(param_type="argument", param_hint="'FILE|BUNDLE...'")
    elif device.startswith(EMULATED):
        files = _files(paths, options)
        result = bench_runs.count_on(files, options, device, quiet, out, remember=not no_history)
    else:
        files = _files(paths, options)
        begun = bench_session.begin(files, options, device, out)
        result = bench_runs.measure(files, begun, quiet, out, remember=not no_history)
    if as_json:
        click.echo(result.model_dump_json(indent=1))
    else:
        _print(result)
    if isinstance(result, SustainedResult) and result.cut is not None:
        kept = f"what came before is in {out}" if out else "what came before is shown, not kept"
        raise MeasurementError(f"{result.cut}; {kept}")


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


def _print(result: BenchResult | CountResult | SustainedResult | OperatorResult) -> None:
    from edgeconv.bench import BenchResult
    from edgeconv.bench.profile.profile import OperatorResult
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
