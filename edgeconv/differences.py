"""The difference of two shares or means, such as two accuracies: how large, and is it chance?

On the same samples only those count that one network recognizes and the other does not: McNemar's
test, exact (Q. McNemar, "Note on the sampling error of the difference between correlated
proportions", Psychometrika 12:2, 1947; the binomial tail, doubled). The interval is that of
D. Bonett and R. Price, "Adjusted Wald confidence interval for a difference of binomial proportions
based on paired data", J. Educ. Behav. Stat. 37:4, 2012.

On different samples it is the two-proportion z test with the pooled variance, and the interval of
A. Agresti and B. Caffo, "Simple and effective confidence intervals for proportions", The American
Statistician 54:4, 2000.

Of means it is Student's interval of the mean difference on the same samples, and the normal one of
the difference of the means on different samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeconv.student import student

NORMAL_975 = 1.959964
LEVEL = 0.05  # of the tests, two-sided; the intervals are of 95 %


@dataclass(frozen=True)
class Difference:
    """The second figure less the first.

    It has its 95 % interval, and for shares the two-sided p-value of their test. The interval
    contains zero exactly where the test finds nothing. It is a point where a figure is no mean over
    samples: then nothing is known of chance.
    """

    value: float
    low: float
    high: float
    p_value: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the test finds a difference."""
        if self.p_value is None:
            return self.low > 0 or self.high < 0
        return self.p_value < LEVEL


Scores = npt.NDArray[np.float64]


def paired_means(before: Scores, after: Scores, *, root: bool = False) -> Difference:
    """The difference of the means of two networks' scores on the same samples.

    Args:
        before: A score per sample of the first network.
        after: The same of the second one, in the same order.
        root: Whether the figures are the roots of the means, as a root mean square error is.
    """
    change = _linear(after, root=root) - _linear(before, root=root)
    half = math.inf
    if len(change) > 1:
        # Beyond 1000 degrees Student's distribution is the normal one.
        reach = student(1 - LEVEL, min(len(change) - 1, 1000))
        half = reach * float(change.std(ddof=1)) / math.sqrt(len(change))
    return _of_means(before, after, half, root=root)


def unpaired_means(before: Scores, after: Scores, *, root: bool = False) -> Difference:
    """The difference of the means of scores of different samples; see :func:`paired_means`."""
    half = math.inf
    if min(len(before), len(after)) > 1:
        parts = (_linear(scores, root=root) for scores in (before, after))
        half = NORMAL_975 * math.sqrt(sum(float(part.var(ddof=1)) / len(part) for part in parts))
    return _of_means(before, after, half, root=root)


def _mean(scores: Scores) -> float:
    return math.fsum(scores) / len(scores)


def _linear(scores: Scores, *, root: bool) -> Scores:
    """Scores whose mean varies as the figure does: the root is linear close to its mean."""
    mean = _mean(scores)
    return scores / (2 * math.sqrt(mean)) if root and mean else scores


def _of_means(before: Scores, after: Scores, half: float, *, root: bool) -> Difference:
    """The interval around the difference; with one sample all that is known is that it may be 0."""
    old, new = (math.sqrt(_mean(s)) if root else _mean(s) for s in (before, after))
    value = new - old
    if math.isinf(half):
        return Difference(value, min(value, 0.0), max(value, 0.0))
    return Difference(value, value - half, value + half)


def paired_difference(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> Difference:
    """The difference of two networks on the same samples.

    Args:
        before: Bool [samples], whether the first network is right.
        after: Bool [samples], whether the second one is, in the same order.
    """
    total = len(before)
    lost = int(np.sum(before & ~after))
    won = int(np.sum(~before & after))
    # One more of each kind of disagreement keeps the interval honest for few of them.
    a, b = (lost + 1) / (total + 2), (won + 1) / (total + 2)
    half = NORMAL_975 * math.sqrt((a + b - (b - a) ** 2) / (total + 2))
    return _reconciled((won - lost) / total, b - a, half, mcnemar(lost, won))


def unpaired_difference(before: tuple[int, int], after: tuple[int, int]) -> Difference:
    """The difference of two shares of different samples.

    Args:
        before: How many are right, of how many.
        after: The same of the second network.
    """
    (right, total), (new_right, new_total) = before, after
    value = new_right / new_total - right / total
    pooled = (right + new_right) / (total + new_total)
    error = math.sqrt(pooled * (1 - pooled) * (1 / total + 1 / new_total))
    p_value = math.erfc(abs(value) / error / math.sqrt(2)) if error else 1.0
    a, b = (right + 1) / (total + 2), (new_right + 1) / (new_total + 2)
    half = NORMAL_975 * math.sqrt(a * (1 - a) / (total + 2) + b * (1 - b) / (new_total + 2))
    return _reconciled(value, b - a, half, p_value)


def mcnemar(lost: int, won: int) -> float:
    """The exact two-sided p-value: were ``lost`` and ``won`` tosses of a fair coin?"""
    tosses = lost + won
    logs = (
        math.lgamma(tosses + 1) - math.lgamma(k + 1) - math.lgamma(tosses - k + 1)
        for k in range(min(lost, won) + 1)
    )
    return min(1.0, 2 * math.fsum(math.exp(x - tosses * math.log(2)) for x in logs))


def _reconciled(value: float, center: float, half: float, p_value: float) -> Difference:
    """The interval around the value, within [-1, 1].

    It is approximate where the test is exact: at the edge of significance, zero is put on the side
    that the test says.
    """
    low, high = max(-1.0, min(center - half, value)), min(1.0, max(center + half, value))
    if p_value >= LEVEL:
        low, high = min(low, 0.0), max(high, 0.0)
    elif value < 0:
        high = min(high, 0.0)
    else:
        low = max(low, 0.0)
    return Difference(value, low, high, p_value)
