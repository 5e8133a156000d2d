"""``edgeconv gate``: the exit code of a CI."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgeconv.bench.compare.result_selector import Result


class Share(click.ParamType[float]):
    """Hundredths, such as ``3%`` or ``3``, as a share from 0 up to ``most``."""

    def __init__(self, name: str, example: str, most: float) -> None:
        self.name, self.example, self.most = name, example, most

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        try:
            share = float(str(value).removesuffix("%")) / 100
        except ValueError:
            share = math.nan
        if not 0 <= share <= self.most:
            bounds = "0 up" if self.most > 1 else f"0 to {100 * self.most:g}"
            self.fail(f"{value} is not a number from {bounds} such as {self.example}", param, ctx)
        return share


@click.command("gate")
@click.argument("result")
@click.option(
    "--baseline",
    required=True,
    help="A result file, a folder of them, a run of the history, or a git revision.",
)
@click.option(
    "--max-regression",
    type=Share("percent", "3%", sys.float_info.max),
    default=0.03,
    show_default="3%",
    help="How much slower or larger a file may become, or how many more instructions it may take.",
)
@click.option(
    "--max-accuracy-loss",
    type=Share("points", "0.5", 1.0),
    default=0.005,
    show_default="0.5",
    help="How many percentage points of top-1 a file may lose.",
)
def command(result: str, baseline: str, max_regression: float, max_accuracy_loss: float) -> None:
    """Exit with 1 if a file of RESULT is significantly slower or less accurate, or larger, than in
    the baseline, or missing; with 2 if RESULT or the baseline cannot be used.

    RESULT is named like the baseline, and is held against it by what it holds: latencies,
    instruction counts (of an emulated board) or accuracies (of `edgeconv evaluate`). Of two folders
    it is every file of the baseline's, of two revisions every kind of result. Prints a Markdown
    table for a pull request.
    """
    from edgeconv.bench.compare.result_selector import match
    from edgeconv.bench.history import History, default_path
    from edgeconv.report.gate import missing_markdown

    matched = match(baseline, result, History(default_path()), Path.cwd())
    passed, parts = not matched.missing, []
    for name, (before, after) in matched.pairs.items():
        good, text = _gate(before, after, max_regression, max_accuracy_loss)
        passed = passed and good
        parts += [f"### {name}", text] if len(matched.pairs) > 1 else [text]
    if matched.missing:
        parts.append(missing_markdown(matched.missing))
    if matched.notes:
        parts.append("\n".join(f"- {note}" for note in matched.notes))
    click.echo("\n\n".join(parts))
    if not passed:
        sys.exit(1)


def _gate(
    before: Result, after: Result, max_regression: float, max_loss: float
) -> tuple[bool, str]:
    """Whether two results of one kind pass, and the table."""
    from edgeconv.bench.compare.accuracy import compare_accuracy, gate_accuracy
    from edgeconv.bench.compare.gate import gate
    from edgeconv.bench.compare.instructions import compare_counts, gate_counts
    from edgeconv.bench.compare.latency import compare
    from edgeconv.bench.instructions import CountResult
    from edgeconv.bench.result import BenchResult
    from edgeconv.evaluation import Evaluation
    from edgeconv.report.gate import accuracy_markdown, counts_markdown, markdown

    if isinstance(before, BenchResult) and isinstance(after, BenchResult):
        latency = gate(compare(before, after), max_regression)
        return latency.passed, markdown(latency, max_regression)
    if isinstance(before, CountResult) and isinstance(after, CountResult):
        counts = gate_counts(compare_counts(before, after), max_regression)
        return counts.passed, counts_markdown(counts, max_regression)
    assert isinstance(before, Evaluation)
    assert isinstance(after, Evaluation)
    accuracy = gate_accuracy(compare_accuracy(before, after), max_loss, max_regression)
    return accuracy.passed, accuracy_markdown(accuracy, max_loss, max_regression)
