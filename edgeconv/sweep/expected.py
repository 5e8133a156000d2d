"""What a chain of stages is expected to cost a sample, with its 95 % interval.

The expected cost is the sum over stages of the share of samples that run a stage, times its cost.
Shares have the intervals of E. B. Wilson ("Probable inference, the law of succession, and
statistical inference", JASA 22:158, 1927), costs their own. They are combined by the method of
variance estimates recovery (G. Y. Zou and A. Donner, "Construction of confidence limits about
effect measures", Statistics in Medicine 27:10, 2008). Whoever runs a stage ran all before it, so
the shares are correlated as nested events are; the costs are independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeconv.bench.result import Interval
from edgeconv.differences import NORMAL_975


def wilson(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    share, square = count / total, NORMAL_975**2
    center = (share + square / (2 * total)) / (1 + square / total)
    spread = share * (1 - share) / total + square / (4 * total**2)
    half = NORMAL_975 * math.sqrt(spread) / (1 + square / total)
    return min(share, center - half), max(share, center + half)


def expected_cost(ran: Sequence[int], costs: Sequence[Interval]) -> Interval:
    """The mean cost of a sample.

    Args:
        ran: How many samples ran each stage; all of them ran the first.
        costs: What each stage costs.
    """
    shares = [count / ran[0] for count in ran]
    ends = [(1.0, 1.0), *(wilson(count, ran[0]) for count in ran[1:])]
    value = math.fsum(share * cost.value for share, cost in zip(shares, costs, strict=True))
    below = _reach(
        shares,
        [c.value * (share - low) for share, (low, _), c in zip(shares, ends, costs, strict=True)],
        [share * (cost.value - cost.low) for share, cost in zip(shares, costs, strict=True)],
    )
    above = _reach(
        shares,
        [c.value * (high - share) for share, (_, high), c in zip(shares, ends, costs, strict=True)],
        [share * (cost.high - cost.value) for share, cost in zip(shares, costs, strict=True)],
    )
    return Interval(value=value, low=max(0.0, value - below), high=value + above)


def _reach(shares: Sequence[float], sampled: Sequence[float], measured: Sequence[float]) -> float:
    """How far a bound is from the value, of how far those of shares and of costs are."""
    stages = range(len(shares))
    variance = math.fsum(
        _correlation(shares[max(i, j)], shares[min(i, j)]) * sampled[i] * sampled[j]
        for i in stages
        for j in stages
    )
    return math.sqrt(variance + math.fsum(each**2 for each in measured))


def _correlation(rare: float, common: float) -> float:
    """Of two events of which the rare one implies the common one; 1 where one is certain."""
    if rare == common or rare in (0.0, 1.0) or common in (0.0, 1.0):
        return 1.0
    return math.sqrt(rare * (1 - common) / (common * (1 - rare)))
