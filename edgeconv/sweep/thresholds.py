"""Thresholds of early exits: which are worth their cost on the samples that they are found on.

A sample leaves at the first exit whose confidence is at least the exit's threshold, or at the last
exit, which has none. Only the order of confidences matters, so a threshold stands halfway between
two that were seen.

The threshold of the last early exit is exact: every cut between two confidences is tried. With two
exits that is the whole search. With more, the thresholds before it are tried at evenly many of the
samples, in all combinations, and the last one is exact for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from edgeconv.sweep.confidence import Floats

_COMBINATIONS = 1000  # of all thresholds but the last; each takes a pass over the samples

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Threshold = float | None  # None: no sample leaves there


def exits_taken(confidence: Floats, thresholds: Sequence[Threshold]) -> Ints:
    """The exit at which each sample leaves, from 0.

    Args:
        confidence: [samples, early exits].
        thresholds: One for each early exit.
    """
    limits = [math.inf if threshold is None else threshold for threshold in thresholds]
    leaves = confidence >= np.array(limits)
    always = np.ones((len(confidence), 1), np.bool_)
    taken: Ints = np.concatenate([leaves, always], axis=1).argmax(axis=1)
    return taken


def find_thresholds(
    confidence: Floats, right: Bools, costs: Sequence[float], *, most: int
) -> list[tuple[Threshold, ...]]:
    """The thresholds on the front of accuracy against mean cost, the cheapest first.

    None of them is as dear as another one that is as accurate. Where the front has more than
    ``most``, the range of its costs is divided evenly, and the best within each cost stays.

    Args:
        confidence: [samples, early exits].
        right: Whether each exit is right: [samples, exits].
        costs: What each stage costs a sample that runs it.
        most: How many to return.
    """
    found = [_cuts(confidence, right, costs, first) for first in _first_thresholds(confidence)]
    cost, correct = (np.concatenate([each[part] for each in found]) for part in (0, 1))
    thresholds = [each for *_, listed in found for each in listed]
    front = _front(cost, correct)
    return [thresholds[index] for index in front[_spread(cost[front], most)]]


def _first_thresholds(confidence: Floats) -> Iterator[tuple[Threshold, ...]]:
    """What is tried for all early exits but the last."""
    others = confidence.shape[1] - 1
    if others == 0:
        return iter([()])
    each = max(2, int(_COMBINATIONS ** (1 / others)))
    return product(*(_levels(column, each) for column in confidence.T[:-1]))


def _levels(values: Floats, most: int) -> list[Threshold]:
    """From no sample to all of them, at evenly many of the samples."""
    descending = np.sort(values)[::-1]
    ends = np.linspace(0, len(values), most).round().astype(int)
    ties = np.searchsorted(-descending, -descending, side="right")
    return list({_threshold(descending, 0 if end == 0 else ties[end - 1]): None for end in ends})


def _threshold(descending: Floats, count: int) -> Threshold:
    """What the first ``count`` of the confidences reach, and no others."""
    if count == 0:
        return None
    if count == len(descending):
        return 0.0
    reached, missed = float(descending[count - 1]), float(descending[count])
    between = missed + (reached - missed) / 2
    return between if between > missed else reached  # of two neighbors among the floats


def _cuts(
    confidence: Floats, right: Bools, costs: Sequence[float], first: tuple[Threshold, ...]
) -> tuple[Floats, Ints, list[tuple[Threshold, ...]]]:
    """The front of all cuts at the last early exit, behind the other thresholds.

    Returns:
        The sums of the cost and of what is right, and the thresholds.
    """
    early = confidence.shape[1]
    taken = exits_taken(confidence[:, :-1], first)  # early - 1 means: past all of these
    gone = taken < early - 1
    upto = np.cumsum(costs)
    at = np.bincount(taken, minlength=early)
    order = np.flatnonzero(~gone)
    order = order[np.argsort(-confidence[order, -1], kind="stable")]
    descending, count = confidence[order, -1], len(order)
    leave, stay = (
        np.concatenate([[0], np.cumsum(right[order, exit], dtype=np.int64)]) for exit in (-2, -1)
    )
    correct = int(right[np.flatnonzero(gone), taken[gone]].sum()) + leave + stay[-1] - stay
    stays = count - np.arange(count + 1)
    cost: Floats = (float(at @ upto[:early]) + stays * float(costs[-1])).astype(np.float64)
    cuts = np.flatnonzero(np.concatenate([[True], descending[1:] < descending[:-1], [True]]))
    if count == 0:
        cuts = np.array([0])
    cuts = cuts[_front(cost[cuts], correct[cuts])]
    thresholds = [(*first, _threshold(descending, int(cut))) for cut in cuts]
    return cost[cuts], correct[cuts], thresholds


def _front(cost: Floats, correct: Ints) -> Ints:
    """The indices of what nothing else beats, the cheapest first; of equals the first."""
    order = np.lexsort((-correct, cost))
    best = np.maximum.accumulate(correct[order])
    better = np.concatenate([[True], best[1:] > best[:-1]])
    front: Ints = order[better]
    return front


def _spread(cost: Floats, most: int) -> Ints:
    """The indices of at most so many of rising costs: the last within each of even budgets."""
    if len(cost) <= most:
        return np.arange(len(cost))
    budgets = np.linspace(cost[0], cost[-1], most)
    budgets[-1] = cost[-1]
    spread: Ints = np.unique(np.searchsorted(cost, budgets, side="right") - 1)
    return spread
