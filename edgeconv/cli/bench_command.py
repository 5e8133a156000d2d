"""``edgeconv bench``: latency of model files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeconv.cli import kept
from edgeconv.cli.bench_files import files_named, inside_bundles
from edgeconv.cli.bench_options import BenchSettings, measuring
from edgeconv.cli.command_class import Command
from edgeconv.cli.comparing import exit_with, max_regression_option
from edgeconv.cli.completions import complete_device_or_pool
from edgeconv.cli.next_command import can_draw, suggest
from edgeconv.cli.outputs import html_option, quiet_option, refuse_undrawable, refuse_unwritable
from edgeconv.cli.places import wait_option
from edgeconv.cli.settings import takes
from edgeconv.cli.store_option import store_option
from edgeconv.cli.values import FrameSize, given
from edgeconv.errors import MeasurementError, UsageError

if TYPE_CHECKING:
    from edgeconv.bench import BenchOptions
    from edgeconv.bench.compare.side_by_side import Sides
    from edgeconv.cli.bench_runs import Measured
    from edgeconv.device.boards import Board, Pool
    from edgeconv.versioned import Versioned


@click.command(
    "bench",
    cls=Command,
    grouped=True,
    examples=(
        "edgeconv bench build/mobilenet_v2",
        "edgeconv bench model.tflite --device ssh://pi@raspberrypi.local --threads 1,4",
        "edgeconv bench before after --gate --max-regression 3%",
        "edgeconv bench build/mobilenet_v2 --device emulated:pi4 --json",
    ),
)
@click.argument("paths", metavar="FILE|BUNDLE...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=("local",),
    show_default=True,
    shell_complete=complete_device_or_pool,
    help="local, local:PYTHON, ssh://[user@]host[:port][/PYTHON], a device or a pool in "
    "devices.toml, or emulated:BOARD (zero2w, zero2w-32, pi3, pi3-32, pi4, pi5), which counts "
    "instructions. Of a pool the next free board measures. May be given several times; the devices "
    "then measure side by side, and --out names a folder.",
)
@wait_option
@measuring
@click.option(
    "--gate",
    is_flag=True,
    help="Hold the second file or bundle against the first, measured in turns: exit with 1 if it "
    "is slower or larger, with 3 if that stays open.",
)
@max_regression_option
@click.option(
    "--resume",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Continue a measurement that was cut short; its error message names the file.",
)
@click.option(
    "--sustained",
    metavar="TIME",
    help="Measure throughput and temperature over a time such as 5m, 90s or 1h, with one process "
    "per file.",
)
@click.option(
    "--operators",
    is_flag=True,
    help="Measure the time of each operator, and show how fast a known board could run it. The "
    "times are from ONNX Runtime's profile; the operators of a TFLite file run one by one.",
)
@click.option(
    "--wide",
    is_flag=True,
    help="With --operators, show every column, also beyond 80 characters.",
)
@click.option(
    "--together",
    is_flag=True,
    help="Measure each file alone and while all others run at the same time.",
)
@click.option(
    "--end-to-end",
    is_flag=True,
    help="Measure the files of a bundle from a camera's frame to the decoded answer, and the time "
    "of each step. The device needs Pillow.",
)
@click.option(
    "--frame",
    type=FrameSize(),
    default="640x480",
    show_default=True,
    help="Width and height of the camera's frames, for --end-to-end.",
)
@click.option("--no-history", is_flag=True, help="Do not keep the result for `edgeconv history`.")
@store_option
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write the result as JSON here.")
@html_option
@click.option("--json", "as_json", is_flag=True, help="Print the JSON instead of the table.")
@quiet_option
@takes(BenchSettings)
def command(settings: BenchSettings) -> None:
    """Measure the latency of model files; of a BUNDLE, of all its files.

    Each file runs in several processes of its own, which take turns with those of the other files.
    The table shows the median with its 95 % confidence interval.

    An emulated board counts the instructions of one inference instead, on one thread.
    """
    from edgeconv.bench import BenchResult
    from edgeconv.bench.instructions import CountResult
    from edgeconv.bench.protocol import check_files
    from edgeconv.cli.bench_boards import on_the_next_free, pools_named
    from edgeconv.cli.bench_fleet import bench_side_by_side
    from edgeconv.report.output import echo_json
    from edgeconv.report.tables import console, print_notes
    from edgeconv.store.history import History

    options = settings.bench_options()
    pools = pools_named(settings.devices)
    for board in (board for pool in pools for board in pool.boards):
        settings.refuse_useless_options(board.address)
    settings.sustained_seconds()
    if len(pools) > 1:
        if settings.page is not None:
            raise UsageError(
                "--html shows the measurement of one device",
                hint="keep the results with --out, and draw them with `edgeconv report`",
            )
        if settings.resume is None:
            check_files(files_named(settings.paths, options), options)
        bench_side_by_side(settings, pools)
        return
    (pool,) = pools
    refuse_unwritable(settings.out)
    refuse_undrawable(settings.page)
    if settings.store is not None and not settings.no_history:
        History.at(settings.store).check()
    sides = _sides(settings, options) if settings.gate else None
    if settings.resume is None and len(pool.boards) > 1:  # no board can mend the request
        check_files(files_named(settings.paths, options), options)
    measured = on_the_next_free(
        _begun(settings, options, pool),
        settings.wait,
        lambda board: _measured(settings, options, board, pool, sides),
    )
    if settings.as_json:
        echo_json(measured.result)
    else:
        for index, table in enumerate(measured.tables()):
            console().print(*([""] if index else []), table, sep="\n")
        print_notes(measured.notes())
    if settings.page is not None:
        from edgeconv.report.html.sections import result_section, write_page

        write_page(settings.page, "Measurements", [result_section(measured.result)])
        kept.made(settings.page)
    if measured.cut is not None:
        out = settings.out
        rest = f"what came before is in {out}" if out else "what came before is shown, not kept"
        raise MeasurementError(f"{measured.cut}; {rest}", after_result=True)
    if sides is not None:
        _gate(sides, measured.result, settings)
    elif not settings.silent:
        _suggest(settings, kept=isinstance(measured.result, BenchResult | CountResult))


def _suggest(settings: BenchSettings, *, kept: bool) -> None:
    """Say how to go on: with a page about the result, or with the history that has it."""
    if settings.out is not None and can_draw():
        suggest("report", *(path for path in settings.paths if path.is_dir()), settings.out)
    elif kept and not settings.no_history and settings.store is None:  # that may have a password
        suggest("history")


def _sides(settings: BenchSettings, options: BenchOptions) -> Sides:
    """What is held against what, before anything is measured."""
    from edgeconv.bench.compare.side_by_side import Sides

    if len(settings.paths) != 2:
        raise UsageError(
            f"--gate holds the second file or bundle against the first, not {len(settings.paths)}",
            hint="name two: the baseline, then the candidate",
        )
    return Sides.of(*(files_named((path,), options) for path in settings.paths))


def _gate(sides: Sides, result: Versioned, settings: BenchSettings) -> None:
    """Print the gate's table (on standard error if there is JSON), and end with its exit code."""
    from edgeconv.bench import BenchResult
    from edgeconv.bench.compare.comparison import Limits
    from edgeconv.bench.compare.gate import gate
    from edgeconv.bench.compare.latency import LATENCY
    from edgeconv.bench.compare.side_by_side import compare_side_by_side
    from edgeconv.report.gate import markdown
    from edgeconv.report.output import echo_lines

    assert isinstance(result, BenchResult)
    limits = Limits(settings.max_regression)
    report = gate(compare_side_by_side(sides, result), limits)
    echo_lines(markdown(report, LATENCY, limits), err=settings.as_json)
    exit_with(report.outcome)


def _begun(settings: BenchSettings, options: BenchOptions, pool: Pool) -> Pool:
    """The boards on which to go on: of a measurement that is resumed, the one it was begun on.

    Raises:
        UsageError: There is no such measurement, or it was not begun on any of these.
    """
    from edgeconv.cli import bench_session

    if settings.resume is None or "devices" not in given():
        return pool
    asked = settings.measures()
    device = bench_session.resume(settings.resume, options, given(), asked).session.device
    boards = [board for board in pool.boards if board.address == device]
    if not boards:
        named = ", ".join(board.address for board in pool.boards)
        raise UsageError(
            f"{settings.resume} was begun on {device}, not on {named}",
            hint="name that device with --device, or leave --device out",
        )
    return replace(pool, boards=boards)


def _measured(
    settings: BenchSettings,
    options: BenchOptions,
    board: Board,
    pool: Pool,
    sides: Sides | None,
) -> Measured[Any]:
    """Measure what was asked on a board of a pool; ``sides`` in the order that suits a gate."""
    from edgeconv.cli import bench_runs, bench_session

    device = board.address
    seconds = settings.sustained_seconds()
    if settings.operators:
        return bench_runs.profile_on(
            files_named(settings.paths, options), options, device, settings
        )
    if seconds is not None:
        files = files_named(settings.paths, options)
        return bench_runs.sustain_on(files, options, seconds, device, settings)
    if settings.resume is not None:
        begun = bench_session.resume(settings.resume, options, given(), settings.measures())
        session, paths = begun.session, settings.paths
        files = files_named(paths, session.options) if paths else list(session.paths)
        return bench_runs.measure(files, begun, settings, out=settings.out or session.out)
    if not settings.paths:
        raise click.MissingParameter(param_type="argument", param_hint="'FILE|BUNDLE...'")
    files = sides.files if sides else files_named(settings.paths, options)
    if board.is_emulated:
        return bench_runs.count_on(files, options, device, settings)
    of_pool = board.name if len(pool.boards) > 1 else None
    asked = settings.measures()
    begun = bench_session.begin(
        files, options, device, settings.out, of_pool, asked, inside_bundles(settings.paths)
    )
    return bench_runs.measure(files, begun, settings, out=settings.out)
