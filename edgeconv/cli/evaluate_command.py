"""``edgeconv evaluate``: top-1 accuracy of every file in a bundle."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("evaluate")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder with a folder of images a class, or .npz with x and y.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Write the result as JSON here, for `edgeconv compare` and `edgeconv gate`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(bundle: Path, data: Path, out: Path | None, as_json: bool, quiet: bool) -> None:
    """Measure the top-1 accuracy of every file of BUNDLE, each on its own runtime."""
    from edgeconv.bundle import Bundle
    from edgeconv.errors import UsageError
    from edgeconv.report.tables import Column, console, progress, table
    from edgeconv.report.units import format_percent
    from edgeconv.versioned import save_json

    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UsageError(f"{out} cannot be written: its folder is missing, or it is a folder")
    loaded = Bundle.load(bundle)
    with progress(quiet or as_json) as bar:
        task = bar.add_task("Evaluating", total=None)
        from edgeconv.export.verify.top1 import evaluate

        result = evaluate(
            loaded, data, lambda done, total: bar.update(task, completed=done, total=total)
        )
    if out is not None:
        save_json(result, out)
    if as_json:
        click.echo(result.model_dump_json(indent=2))
        return
    columns: list[Column | str] = [
        "file",
        Column("top-1", numeric=True),
        Column("correct", numeric=True),
        "runtime",
    ]
    rows = [
        [
            accuracy.path,
            format_percent(accuracy.top1, places=2),
            f"{accuracy.correct} of {result.samples}",
            accuracy.runtime,
        ]
        for accuracy in result.results
    ]
    console().print(table(columns, rows))
    if result.skipped:
        click.echo(f"{len(result.skipped)} unreadable: {', '.join(result.skipped[:3])}", err=True)
