"""``edgeconv evaluate``: how well every file of a bundle does its task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.cli import kept
from edgeconv.cli.command_class import Command
from edgeconv.cli.next_command import suggest
from edgeconv.cli.outputs import html_option, quiet_option, refuse_undrawable, refuse_unwritable
from edgeconv.cli.places import device_option, place_of, wait_option
from edgeconv.cli.remembering import remember
from edgeconv.cli.settings import takes
from edgeconv.cli.shared_options import task_options, wide_option
from edgeconv.cli.store_option import store_option
from edgeconv.cli.values import given
from edgeconv.errors import UsageError
from edgeconv.evaluation import MOST_PICTURES

if TYPE_CHECKING:
    from edgeconv.bundle import Bundle
    from edgeconv.evaluation import Evaluation

_PICTURES = 24


@dataclass(frozen=True)
class EvaluateSettings:
    """What to evaluate on which data, and where the result goes."""

    bundle: Path
    data: Path
    task: str
    truth: Path | None
    device: str | None
    wait: float
    no_history: bool
    store: str | None
    out: Path | None
    page: Path | None
    pictures: int | None
    wide: bool
    as_json: bool
    quiet: bool


@click.command(
    "evaluate",
    cls=Command,
    grouped=True,
    examples=(
        "edgeconv evaluate build/mobilenet_v2 --data validation",
        "edgeconv evaluate build/unet --data images --task segmentation --truth masks",
    ),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="The samples: by the task a folder with one folder of images per class, a folder of "
    "images, a .tar of either, a WebDataset (shard-{000..049}.tar), or an .npz file with x and y.",
)
@task_options
@device_option
@wait_option
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Write the result as JSON here, for `edgeconv compare` and `edgeconv gate`.",
)
@html_option
@click.option(
    "--pictures",
    type=click.IntRange(0, MOST_PICTURES),
    help="How many samples to which int8 gives another class than float32 are kept in the result "
    "and on the page, with their pictures.  [default: 24 with --html, else 0]",
)
@wide_option
@click.option("--no-history", is_flag=True, help="Do not keep the result for `edgeconv history`.")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@quiet_option
@takes(EvaluateSettings)
def command(settings: EvaluateSettings) -> None:
    """Measure how well every file of BUNDLE does its task, each on its own runtime."""
    from edgeconv.bench.compare.accuracy import history_run
    from edgeconv.bundle import Bundle
    from edgeconv.report.accuracy import accuracy_cells, notes
    from edgeconv.report.output import echo_json
    from edgeconv.report.stacked import print_fitted
    from edgeconv.report.tables import print_notes
    from edgeconv.store.history import History

    refuse_unwritable(settings.out)
    refuse_undrawable(settings.page)
    if settings.wait and settings.device is None:
        raise UsageError("--wait is for --device", hint="leave it out, or name a device")
    if settings.store is not None and not settings.no_history:
        History.at(settings.store).check()
    pictures = settings.pictures
    if pictures is None:
        pictures = 0 if settings.page is None else _PICTURES
    started = datetime.now(timezone.utc)
    loaded = Bundle.load(settings.bundle)
    result, where = _evaluated(settings, loaded, pictures)
    kept.made()
    if not settings.no_history:
        run = history_run(result, settings.bundle, started, where)
        remember(result, settings.store, run)
    if settings.out is not None:
        result.save(settings.out)
        kept.made(settings.out)
    if settings.page is not None:
        from edgeconv.report.html.sections import result_section, write_page

        write_page(settings.page, loaded.manifest.model, [result_section(result)])
        kept.made(settings.page)
    if settings.as_json:
        echo_json(result)
        return
    print_fitted(*accuracy_cells(result), wide=settings.wide)
    print_notes(notes(result))
    if not settings.quiet:
        _suggest(settings, result)


def _suggest(settings: EvaluateSettings, result: Evaluation) -> None:
    """Say how to go on: to the layers that lose if a file loses, else to the latency."""
    if any(accuracy.loses for accuracy in result.results):
        task = ("--task", settings.task, *(("--truth", settings.truth) if settings.truth else ()))
        data = ("--data", settings.data, "--labeled", settings.data)
        suggest("blame", settings.bundle, *data, *(task if "task" in given() else ()))
    else:
        device = () if settings.device is None else ("--device", settings.device)
        suggest("bench", settings.bundle, *device)


def _evaluated(settings: EvaluateSettings, bundle: Bundle, pictures: int) -> tuple[Evaluation, str]:
    """Evaluate here or on the next free board of those named, and say where that was."""
    from edgeconv.cli.bench_boards import on_the_next_free
    from edgeconv.device.boards import Board, open_pools
    from edgeconv.report.tables import progress

    def on(device: str | None) -> Evaluation:
        quiet = settings.quiet or settings.as_json
        with progress("Evaluating", quiet) as show, place_of(device) as place:
            from edgeconv.export.tasks.evaluate import evaluate

            return evaluate(
                bundle,
                settings.data,
                show,
                task=settings.task,
                truth=settings.truth,
                place=place,
                pictures=pictures,
            )

    if settings.device is None:
        return on(None), "local"
    (pool,) = open_pools([settings.device])
    pool.admit_all()

    def on_board(board: Board) -> tuple[Evaluation, str]:
        return on(board.address), board.name

    return on_the_next_free(pool, settings.wait, on_board)
