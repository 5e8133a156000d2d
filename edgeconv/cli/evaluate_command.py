"""``edgeconv evaluate``: how well every file of a bundle does its task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from edgeconv.cli.outputs import refuse_unwritable
from edgeconv.cli.places import device_option, place_of
from edgeconv.cli.settings import takes
from edgeconv.cli.shared_options import task_options


@dataclass(frozen=True)
class EvaluateSettings:
    """What to evaluate on which data, and where the result goes."""

    bundle: Path
    data: Path
    task: str
    truth: Path | None
    device: str | None
    out: Path | None
    as_json: bool
    quiet: bool


@click.command("evaluate")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="The samples: by the task a folder with one folder of images per class, a folder of "
    "images, or an .npz file with x and y.",
)
@task_options
@device_option
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Write the result as JSON here, for `edgeconv compare` and `edgeconv gate`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@takes(EvaluateSettings)
def command(settings: EvaluateSettings) -> None:
    """Measure how well every file of BUNDLE does its task, each on its own runtime."""
    from edgeconv.bundle import Bundle
    from edgeconv.report.accuracy import accuracy_table, notes
    from edgeconv.report.output import echo_json
    from edgeconv.report.tables import console, print_notes, progress

    refuse_unwritable(settings.out)
    loaded = Bundle.load(settings.bundle)
    with (
        progress("Evaluating", settings.quiet or settings.as_json) as show,
        place_of(settings.device) as place,
    ):
        from edgeconv.export.tasks.evaluate import evaluate

        result = evaluate(
            loaded,
            settings.data,
            show,
            task=settings.task,
            truth=settings.truth,
            place=place,
        )
    if settings.out is not None:
        result.save(settings.out)
    if settings.as_json:
        echo_json(result)
        return
    console().print(accuracy_table(result))
    print_notes(notes(result))
