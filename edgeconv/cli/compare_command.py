"""``edgeconv compare``: two measurements side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgeconv.bench.compare import ComparisonReport


@click.command("compare")
@click.argument("before")
@click.argument("after")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(before: str, after: str, as_json: bool) -> None:
    """Say whether files became faster or slower from BEFORE to AFTER.

    Each is a result file of `edgeconv bench --out`, the number of a run in `edgeconv history`, or
    a git revision at which something was measured.
    """
    import json

    from edgeconv.bench.compare import compare
    from edgeconv.bench.history import History, default_path, resolve

    history = History(default_path())
    report = compare(*(resolve(name, history, Path.cwd()) for name in (before, after)))
    if as_json:
        click.echo(json.dumps(_plain(report), indent=1))
    else:
        _print(report)


def _plain(report: ComparisonReport) -> dict[str, object]:
    return {
        "schema_version": 1,
        "files": [
            {
                "name": c.name,
                "before_ns": c.before.summary.median.model_dump(),
                "after_ns": c.after.summary.median.model_dump(),
                "change": c.change.model_dump(),
                "size_change": c.size_change,
                "verdict": c.verdict.value,
            }
            for c in report.comparisons
        ],
        "only_before": report.only_before,
        "only_after": report.only_after,
        "cautions": report.cautions,
    }


def _print(report: ComparisonReport) -> None:
    from edgeconv.report.tables import Column, console, error_console, printable, table
    from edgeconv.report.units import format_duration

    columns = ("File", Column("Before", numeric=True), Column("After", numeric=True), "Verdict")
    rows = [
        (
            c.name,
            format_duration(c.before.summary.median.value / 1e9),
            format_duration(c.after.summary.median.value / 1e9),
            c.sentence(),
        )
        for c in report.comparisons
    ]
    console().print(table(columns, rows))
    notes = [f"{name} is only in the first result" for name in report.only_before]
    notes += [f"{name} is only in the second result" for name in report.only_after]
    for note in (*notes, *report.cautions):
        error_console().print(f"note: {printable(note)}")
