"""The table of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.bench.compare.accuracy import format_figure
from edgeconv.evaluation import SHARE
from edgeconv.report.tables import Column
from edgeconv.units import format_samples

if TYPE_CHECKING:
    from edgeconv.evaluation import Accuracy, Evaluation

NAMED = 3  # unreadable samples that a note names


def accuracy_cells(
    result: Evaluation,
) -> tuple[Sequence[Column], Sequence[Sequence[str]]]:
    """One row per file; every figure but the first, which decides, is spare."""
    names = [figure.name for figure in result.results[0].figures]
    compared = any(accuracy.against_float for accuracy in result.results)
    columns = [Column("file")]
    columns += [Column(name, numeric=True, spare=i > 0) for i, name in enumerate(names)]
    columns += [Column("against float32", numeric=True)] if compared else []
    rows = [
        (
            accuracy.path,
            *map(format_figure, accuracy.figures),
            *([_against_float(accuracy)] if compared else []),
        )
        for accuracy in result.results
    ]
    return columns, rows


def _against_float(accuracy: Accuracy) -> str:
    """The difference from a float32 file, with its interval where there is one."""
    found = accuracy.against_float
    if found is None:
        return ""
    share = accuracy.decisive.unit == SHARE
    low, change, high = (
        None if x is None else f"{100 * x:+.2f}" if share else f"{x:+.3g}"
        for x in (found.low, found.change, found.high)
    )
    return f"{change}" if low is None else f"{change} [{low}, {high}]"


def notes(result: Evaluation) -> list[str]:
    """What the figures are taken on, and the samples that could not be used."""
    runtimes = " and ".join(dict.fromkeys(accuracy.runtime for accuracy in result.results))
    lines = [f"{result.task} on {format_samples(result.samples)} of {result.data}, by {runtimes}"]
    compared = [each.against_float for each in result.results if each.against_float is not None]
    if compared:
        what = result.results[0].decisive
        unit = "points" if what.unit == SHARE else (what.unit or "its own unit")
        interval = (
            "with the 95 % interval of a mean"
            if any(each.low is not None for each in compared)
            else "without an interval, as it is no mean over the samples"
        )
        lines.append(f"against float32: {what.name} in {unit}, {interval}")
    lines += [
        f"top-5 of {accuracy.path}: in {accuracy.ties} of {format_samples(result.samples)} equal "
        "scores decide, of which the first class counts as larger"
        for accuracy in result.results
        if accuracy.ties
    ]
    if result.skipped:
        named = ", ".join(result.skipped[:NAMED])
        lines.append(f"{len(result.skipped)} left out: {named}")
    return lines
