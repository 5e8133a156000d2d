"""Boards of one kind that measured the same files: which of them disagree with the others.

Each board is compared with the one in the middle, as two sessions are compared (``sessions.py``).
The latencies of all files are taken together: what slows a board down slows all of them, and one
comparison for each board keeps the rate of false alarms what it is said to be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.bench.repetition import enough_calm
from edgeconv.bench.result import BenchResult, ModelResult
from edgeconv.bench.sessions import NOT_KNOWN
from edgeconv.bench.states import Logs
from edgeconv.bench.statistics import Estimate, Figure, compare_logs, logs_of

Figures = tuple[Logs, Logs]


@dataclass(frozen=True)
class Agreement:
    """How the boards of a pool agree.

    Attributes:
        middle: The board in the middle by its latencies; of two, and of the two in the middle of an
            even number, the faster one: heat, load and a lower clock make boards slower.
        off: How many times as long the boards take that disagree with it.
    """

    middle: str
    off: dict[str, Estimate]


def agreement(results: Mapping[str, BenchResult]) -> Agreement:
    """Say which boards disagree beyond noise; boards that agree do in at most 5 % of cases.

    A board with one process for each file, or with no file in common with the others, disagrees
    with none.

    Args:
        results: What each board measured of the same files; one at least.
    """
    rows = [{_row(model): model for model in result.models} for result in results.values()]
    common = [row for row in rows[0] if all(row in other for other in rows)]
    if not common:
        return Agreement(next(iter(results)), {})
    figures = {
        board: _figures([models[row] for row in common])
        for board, models in zip(results, rows, strict=True)
    }
    return agreement_of(figures)


def agreement_of(figures: Mapping[str, Figures]) -> Agreement:
    """As :func:`agreement`, of the logs of each board's medians and 10th percentiles."""
    order = sorted(figures, key=lambda board: float(figures[board][0].mean()))
    middle = order[(len(order) - 1) // 2]
    off: dict[str, Estimate] = {}
    for board in order:
        if board == middle or min(len(figures[each][0]) for each in (board, middle)) < 2:
            continue
        (medians, lows), (middle_medians, middle_lows) = figures[board], figures[middle]
        change = compare_logs(
            (medians, middle_medians),
            (lows, middle_lows),
            paired=False,
            between=NOT_KNOWN.variance,
            together=len(order) - 1,
        )
        judged = change.of(change.judged_by)
        if not judged.covers_one and not change.contradictory:
            off[board] = judged
    return Agreement(middle, off)


def _row(model: ModelResult) -> tuple[str, int]:
    return model.file.sha256, model.threads


def _figures(models: Sequence[ModelResult]) -> Figures:
    """The logs of median and 10th percentile of each repetition, on average over the files."""
    repetitions = list(zip(*(model.processes for model in models), strict=True))
    calm = [runs for runs in repetitions if not any(run.disturbances for run in runs)]
    counted = calm if enough_calm(len(calm), len(repetitions)) else repetitions
    columns = list(zip(*counted, strict=True))
    medians, lows = (
        np.mean([logs_of([run.samples_ns for run in runs], figure) for runs in columns], axis=0)
        for figure in (Figure.MEDIAN, Figure.LOW)
    )
    return medians, lows
