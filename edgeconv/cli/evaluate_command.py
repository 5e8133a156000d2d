"""``edgeconv evaluate``: top-1 accuracy of every file in a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from edgeconv.cli.outputs import refuse_unwritable
from edgeconv.cli.settings import takes


@dataclass(frozen=True)
class EvaluateSettings:
    """What to evaluate on which data, and where the result goes."""

    bundle: Path
    data: Path
    out: Path | None
    as_json: bool
    quiet: bool


@click.command("evaluate")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="A folder with one folder of images per class, or an .npz file with x and y.",
)
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
    """Measure the top-1 accuracy of every file of BUNDLE, each on its own runtime."""
    from edgeconv.bundle import Bundle
    from edgeconv.report.accuracy import accuracy_table, notes
    from edgeconv.report.output import echo_json
    from edgeconv.report.tables import console, print_notes, progress

    refuse_unwritable(settings.out)
    loaded = Bundle.load(settings.bundle)
    with progress("Evaluating", settings.quiet or settings.as_json) as show:
        from edgeconv.export.verify.top1 import evaluate

        result = evaluate(
            loaded,
            settings.data,
            show,
        )
    if settings.out is not None:
        result.save(settings.out)
    if settings.as_json:
        echo_json(result)
        return
    console().print(accuracy_table(result))
    print_notes(notes(result))
