"""The difference of two shares, such as two accuracies: how large, and is it chance?

On the same samples only those count that one network recognizes and the other does not: McNemar's
test, exact (Q. McNemar, "Note on the sampling error of the difference between correlated
proportions", Psychometrika 12:2, 1947; the binomial tail, doubled). The interval is that of
D. Bonett and R. Price, "Adjusted Wald confidence interval for a difference of binomial proportions
based on paired data", J. Educ. Behav. Stat. 37:4, 2012.

On different samples it is the two-proportion z test with the pooled variance, and the interval of
A. Agresti and B. Caffo, "Simple and effective confidence intervals for proportions", The American
Statistician 54:4, 2000.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeconv.bench.statistics import NORMAL_975

LEVEL = 0.05  # of the tests, two-sided; the intervals are of 95 %


@dataclass(frozen=True)
class Difference:
    """The second share less the first, in [-1, 1].

    It has its 95 % interval and its two-sided p-value. The interval contains zero exactly where the
    test finds nothing.
    """

    value: float
    low: float
    high: float
    p_value: float

    @property
    def significant(self) -> bool:
        """Whether the test finds a difference."""
        return self.p_value < LEVEL


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
