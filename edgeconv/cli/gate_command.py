"""``edgeconv gate``: the exit code of a CI."""

from __future__ import annotations

import sys
from pathlib import Path

import click


class Percent(click.ParamType[float]):
    """``3%`` or ``3``: a share of one hundred, from 0 up."""

    name = "percent"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        try:
            share = float(str(value).removesuffix("%")) / 100
        except ValueError:
            self.fail(f"{value} is not a percentage such as 3%", param, ctx)
        if not 0 <= share < float("inf"):
            self.fail(f"{value} is not a percentage from 0% up", param, ctx)
        return share


@click.command("gate")
@click.argument("result")
@click.option(
    "--baseline", required=True, help="A result file, a run of the history, or a git revision."
)
@click.option(
    "--max-regression",
    type=Percent(),
    default=0.03,
    show_default="3%",
    help="How much slower or larger a file may become.",
)
def command(result: str, baseline: str, max_regression: float) -> None:
    """Exit with 1 if a file of RESULT is significantly slower, or larger, than in the baseline.

    RESULT is named like the baseline. Files of instruction counts (from an emulated board) go with
    each other. Prints a Markdown table for a pull request.
    """
    from edgeconv.bench.instructions import holds_counts

    if holds_counts(Path(result)) or holds_counts(Path(baseline)):
        passed = _gate_counts(Path(baseline), Path(result), max_regression)
    else:
        passed = _gate_times(baseline, result, max_regression)
    if not passed:
        sys.exit(1)


def _gate_times(baseline: str, result: str, max_regression: float) -> bool:
    from edgeconv.bench.compare import compare
    from edgeconv.bench.gate import gate
    from edgeconv.bench.history import History, default_path, resolve
    from edgeconv.report.gate import markdown

    history = History(default_path())
    before, after = (resolve(name, history, Path.cwd()) for name in (baseline, result))
    report = gate(compare(before, after), max_regression)
    click.echo(markdown(report, max_regression))
    return report.passed


def _gate_counts(baseline: Path, result: Path, max_regression: float) -> bool:
    from edgeconv.bench.count_gate import gate_counts
    from edgeconv.bench.instructions import CountResult
    from edgeconv.report.gate import counts_markdown

    report = gate_counts(CountResult.load(baseline), CountResult.load(result), max_regression)
    click.echo(counts_markdown(report, max_regression))
    return report.passed
