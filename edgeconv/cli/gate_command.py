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

    RESULT is named like the baseline. Prints a Markdown table for a pull request.
    """
    from edgeconv.bench.compare import compare
    from edgeconv.bench.gate import gate
    from edgeconv.bench.history import History, default_path, resolve
    from edgeconv.report.gate import markdown

    history = History(default_path())
    before, after = (resolve(name, history, Path.cwd()) for name in (baseline, result))
    report = gate(compare(before, after), max_regression)
    click.echo(markdown(report, max_regression))
    if not report.passed:
        sys.exit(1)
