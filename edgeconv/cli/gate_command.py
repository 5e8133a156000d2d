"""``edgeconv gate``: the exit code of a CI."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.cli.settings import takes

if TYPE_CHECKING:
    from edgeconv.bench.compare.comparison import Limits


class Share(click.ParamType[float]):
    """Hundredths, such as ``3%`` or ``3``, as a share from 0 up to ``most``."""

    def __init__(self, name: str, example: str, most: float) -> None:
        self.name, self.example, self.most = name, example, most

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The share; anything else is a usage error."""
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


@dataclass(frozen=True)
class GateSettings:
    """What to hold against what, and what is allowed; the limits are shares."""

    result: str
    baseline: str
    max_regression: float
    max_accuracy_loss: float

    @property
    def limits(self) -> Limits:
        """The limits that every kind of result knows."""
        from edgeconv.bench.compare.comparison import Limits

        return Limits(self.max_regression, self.max_accuracy_loss)


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
@takes(GateSettings)
def command(settings: GateSettings) -> None:
    """Fail if a file of RESULT is worse than in the baseline: exit with 1.

    A file is worse if it is significantly slower or less accurate, takes more instructions, is
    larger, or is missing. The exit code is 2 if RESULT or the baseline cannot be used.

    RESULT is named like the baseline. What it holds decides what is checked: latencies, instruction
    counts (of an emulated board) or accuracies (of `edgeconv evaluate`). Two folders are compared
    file by file, two git revisions kind by kind. Prints a Markdown table for a pull request.
    """
    from edgeconv.bench.compare.gate import gate
    from edgeconv.bench.compare.kinds import kind_of
    from edgeconv.bench.history import History, default_path
    from edgeconv.bench.result_selector import match
    from edgeconv.report.gate import markdown, missing_markdown
    from edgeconv.report.markdown import in_markdown
    from edgeconv.report.output import echo_lines

    limits = settings.limits
    matched = match(settings.baseline, settings.result, History(default_path()), Path.cwd())
    passed, parts = not matched.missing, []
    for name, (before, after) in matched.pairs.items():
        kind = kind_of(before)
        report = gate(kind.compare(before, after), limits)
        passed = passed and report.passed
        text = markdown(report, kind, limits)
        parts += [f"### {in_markdown(name)}", text] if len(matched.pairs) > 1 else [text]
    if matched.missing:
        parts.append(missing_markdown(matched.missing))
    if matched.notes:
        parts.append("\n".join(f"- {in_markdown(note)}" for note in matched.notes))
    echo_lines("\n\n".join(parts))
    if not passed:
        sys.exit(1)
