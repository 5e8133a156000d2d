"""``edgeconv compare``: two measurements side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgeconv.bench.compare.result_selector import Result
    from edgeconv.report.compare import AnyReport

SCHEMA_VERSION = 2  # 1 held one comparison, of latencies


@click.command("compare")
@click.argument("before")
@click.argument("after")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(before: str, after: str, as_json: bool) -> None:
    """Say whether files became faster, slower, more or less accurate from BEFORE to AFTER.

    Each is a file of `edgeconv bench --out` or `edgeconv evaluate --out`, the number of a run in
    `edgeconv history`, or a git revision at which something was measured; not twice the same run.
    Two folders of such files are compared by the files' names. Latencies go with latencies,
    instruction counts (of an emulated board) with counts, accuracies with accuracies.
    """
    from edgeconv.bench.compare.result_selector import match
    from edgeconv.bench.history import History, default_path
    from edgeconv.report import compare as report
    from edgeconv.report.tables import console, error_console, printable

    matched = match(before, after, History(default_path()), Path.cwd())
    reports = {name: compare_results(*pair) for name, pair in matched.pairs.items()}
    if as_json:
        plain = {
            "schema_version": SCHEMA_VERSION,
            "comparisons": [{"of": name, **report.plain(r)} for name, r in reports.items()],
            "missing": matched.missing,
            "notes": matched.notes,
        }
        click.echo(json.dumps(plain, indent=1))
        return
    for name, found in reports.items():
        console().print(report.comparison_table(found, name if len(reports) > 1 else None))
        for note in report.notes(found):
            error_console().print(f"note: {printable(note)}")
    missing = tuple(f"only {before} has {name}" for name in matched.missing)
    for note in (*missing, *matched.notes):
        error_console().print(f"note: {printable(note)}")


def compare_results(before: Result, after: Result) -> AnyReport:
    """Compare two results of one kind."""
    from edgeconv.bench.compare.accuracy import compare_accuracy
    from edgeconv.bench.compare.instructions import compare_counts
    from edgeconv.bench.compare.latency import compare
    from edgeconv.bench.instructions import CountResult
    from edgeconv.bench.result import BenchResult
    from edgeconv.evaluation import Evaluation

    if isinstance(before, BenchResult) and isinstance(after, BenchResult):
        return compare(before, after)
    if isinstance(before, CountResult) and isinstance(after, CountResult):
        return compare_counts(before, after)
    assert isinstance(before, Evaluation)
    assert isinstance(after, Evaluation)
    return compare_accuracy(before, after)
