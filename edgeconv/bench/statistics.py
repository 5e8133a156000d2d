"""Latencies with honest intervals, from samples in several processes and sessions.

A process has its own memory layout and its own moment, so its samples share an error that more
samples do not reduce (Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013).
The unit of evidence is therefore the process. Each process gives one figure, the log of its median
or of its 10th percentile, and Student's interval of these figures counts all noise exactly once:
what varies within a process makes its figure vary, too.

A few processes may agree by chance, and Student's interval is then far too narrow. A stated prior
of 1 % from process to process, which weighs as much as one degree of freedom, gives a second
interval. The wider of the two counts, so that none is narrower than Student's; with ten processes
and more the prior hardly matters.

Two processes cannot show that a machine has two speeds either: that one file met the fast one
twice and the other file the slow one twice is no rare chance. Where a file has fewer than three,
comparisons therefore count on two speeds that are 0.3 apart, which is what clocks that nothing
reports were seen to do.

A session (one start of ``edgeconv bench``) has an error of its own in the same way. Two files of
one session share it, and it cancels; results of two sessions do not, and more processes do not
reduce it. ``sessions.py`` estimates it.

The median says what is typical, the 10th percentile what the file takes when nothing interferes;
under bursts and competing jobs it is by far the better test. Two results are compared by both. The
two intervals are of 97.5 % each, so that both hold at once in 95 % of comparisons (Bonferroni), and
so does either that is chosen afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product

import numpy as np
import numpy.typing as npt

from edgeconv.bench.states import Logs, matching_states
from edgeconv.student import student

CONFIDENCE = 0.95
OF_TWO = 0.975  # of each of two intervals that hold together with CONFIDENCE
POWER = 0.9  # with which what is looked for must be found
PRIOR = 0.01  # standard deviation from process to process, relative; as that between sessions
PRIOR_DEGREES = 1.0  # of freedom that it weighs as much as
TWO_SPEEDS = 0.15  # standard deviation of processes at two speeds that are 0.3 (logs) apart
SHOWING_SPEEDS = 3  # processes; of two pairs, every eighth meets one speed with one file only
MOST_DEGREES = 1000  # of Student's distribution; the normal one differs by less than 0.2 % then
LEAST_OF_DRIFT = 4  # processes that show a drift
BEYOND = 10  # samples that a percentile needs above it
TIED = 4  # values that occur so often on average are steps of the clock
NEAR = 2

Samples = npt.NDArray[np.float64]


class Figure(str, Enum):
    """What one process contributes: a quantile of its samples."""

    MEDIAN = "median"
    LOW = "10th percentile"

    @property
    def share(self) -> float:
        """The share of the samples below it."""
        return 0.5 if self is Figure.MEDIAN else 0.1


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval, in the unit of the samples (or a ratio)."""

    value: float
    low: float
    high: float

    @property
    def covers_one(self) -> bool:
        """Whether a ratio shows no difference."""
        return self.low <= 1.0 <= self.high

    @property
    def width(self) -> float:
        """On the log scale."""
        return math.log(self.high / self.low)


@dataclass(frozen=True)
class Variance:
    """An estimated variance of a log, and the degrees of freedom that it is known with."""

    value: float
    degrees: float


@dataclass(frozen=True)
class Percentile:
    """A tail of the samples of all processes together, or the reason why it is left blank."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Change:
    """How many times as long a file takes, by two figures; both intervals hold at once with 95 %.

    ``resolution`` is the smallest change (a ratio's distance from 1) that the better of the two
    finds in 90 % of comparisons; infinite for a single process.
    """

    median: Estimate
    low: Estimate
    resolution: float

    @property
    def judged_by(self) -> Figure:
        """The figure that decides: one that moved, and of two such the narrower interval."""

        def order(figure: Figure) -> tuple[bool, float]:
            return self.of(figure).covers_one, self.of(figure).width

        return min(Figure, key=order)

    @property
    def contradictory(self) -> bool:
        """Whether one figure rose and the other fell."""
        rose = self.median.low > 1.0 or self.low.low > 1.0
        return rose and (self.median.high < 1.0 or self.low.high < 1.0)

    def of(self, figure: Figure) -> Estimate:
        """The ratio of a figure."""
        return self.median if figure is Figure.MEDIAN else self.low


def logs_of(processes: Sequence[Sequence[int]], figure: Figure) -> Logs:
    """The log of one figure of every process."""
    return np.log([figure_of(samples, figure) for samples in processes])


def figure_of(samples: Sequence[int], figure: Figure) -> float:
    """A figure of one process.

    A clock with coarse steps gives few values many times over, and a quantile would stay on a step
    or jump to the next one. Such samples have no better figure than their mean, of which the steps
    cancel; what is far from the median counts as no more than :data:`NEAR` steps.
    """
    values: Samples = np.sort(np.asarray(samples, dtype=np.float64))
    gaps = np.diff(values)
    steps = gaps[gaps > 0]
    if len(steps) and TIED * (len(steps) + 1) <= len(values):
        middle, reach = float(np.median(values)), NEAR * float(steps.min())
        return float(values.clip(middle - reach, middle + reach).mean())
    return float(np.quantile(values, figure.share))


def level(processes: Sequence[Sequence[int]], figure: Figure = Figure.MEDIAN) -> Estimate:
    """The geometric mean of a figure over the processes, and its 95 % interval.

    Args:
        processes: The samples of each process; positive, at least one each.
        figure: What each process contributes.
    """
    return of_logs(logs_of(processes, figure))


def of_logs(logs: Logs) -> Estimate:
    """The geometric mean of logs of figures, and its 95 % interval."""
    return _interval(float(logs.mean()), _of_mean(logs, CONFIDENCE), CONFIDENCE)


def variance_of_mean(logs: Logs) -> float | None:
    """The variance of the mean of a session's processes, as they show it; None of a single one."""
    return _seen(logs).value / len(logs) if len(logs) > 1 else None


def ratio(new: Sequence[Sequence[int]], old: Sequence[Sequence[int]], *, paired: bool) -> Estimate:
    """How many times the median of ``new`` is that of ``old``; see :func:`compare`."""
    return ratio_of_logs(*(logs_of(side, Figure.MEDIAN) for side in (new, old)), paired=paired)


def ratio_of_logs(new: Logs, old: Logs, *, paired: bool) -> Estimate:
    """As :func:`ratio`, of each process's figures."""
    value, variance = _difference(new, old, CONFIDENCE, paired=paired)
    return _interval(value, variance, CONFIDENCE)


def compare(
    new: Sequence[Sequence[int]],
    old: Sequence[Sequence[int]],
    *,
    paired: bool,
    between: Variance | None = None,
) -> Change:
    """How many times as long the new file takes.

    Args:
        new: The samples of each process.
        old: The same of the other file.
        paired: Process i of both ran side by side in one interleaved session. What drifted hit both
            alike, so their ratio is taken first.
        between: What the log of a session's figures varies by, for files of two sessions.
    """
    medians, lows = (
        (logs_of(new, figure), logs_of(old, figure)) for figure in (Figure.MEDIAN, Figure.LOW)
    )
    return compare_logs(medians, lows, paired=paired, between=between)


def compare_logs(
    medians: tuple[Logs, Logs],
    lows: tuple[Logs, Logs],
    *,
    paired: bool,
    between: Variance | None = None,
    together: int = 1,
) -> Change:
    """As :func:`compare`, of each process's figures: those of the new file and of the old one.

    Args:
        medians: Of the new file and of the old one.
        lows: The same of the 10th percentiles.
        paired: As for :func:`compare`.
        between: As for :func:`compare`.
        together: How many comparisons are made at once. All their intervals hold in 95 %.
    """
    sessions = [] if between is None else [Variance(2 * between.value, between.degrees)]
    confidence = 1 - (1 - OF_TWO) / together
    found = [
        _difference(new, old, confidence, paired=paired, sessions=sessions)
        for new, old in (medians, lows)
    ]
    estimates = [_interval(value, variance, confidence) for value, variance in found]
    single = min(len(medians[0]), len(medians[1])) < 2
    resolutions = [_resolution(variance, confidence) for _, variance in found]
    resolution = math.inf if single else min(resolutions)
    return Change(estimates[0], estimates[1], resolution)


def resolution_of(logs: Logs) -> float:
    """The smallest change that this and another such measurement of a file would show in 90 %.

    What sessions differ by is not known here, and left out.
    """
    mean = _of_mean(logs, OF_TWO)
    other = Variance(2 * mean.value, mean.degrees)  # as much noise again
    return _resolution(other, OF_TWO) if len(logs) > 1 else math.inf


def percentile(processes: Sequence[Sequence[int]], percent: int) -> Percentile:
    """The nearest-rank percentile of all samples together, if at least ten lie above it.

    With fewer, a tail is an anecdote: p90 needs 100 samples, p99 needs 1000.
    """
    pooled = np.sort(np.concatenate([np.asarray(p, dtype=np.float64) for p in processes]))
    needed = math.ceil(100 * BEYOND / (100 - percent))
    if pooled.size < needed:
        return Percentile(None, f"{pooled.size} samples, p{percent} needs {needed}")
    return Percentile(float(pooled[math.ceil(pooled.size * percent / 100) - 1]))


def _difference(
    new: Logs,
    old: Logs,
    confidence: float,
    *,
    paired: bool,
    sessions: Sequence[Variance] = (),
) -> tuple[float, Variance]:
    """The mean difference of two files' logs, and its variance; see :func:`_possible`.

    Args:
        new: A figure of each process of one file.
        old: The same of the other file.
        confidence: Of the interval that the variance is for.
        paired: As for :func:`compare`.
        sessions: Variances that two sessions add.
    """
    if paired and len(new) != len(old):
        raise ValueError(f"{len(new)} and {len(old)} processes cannot be paired")
    states = matching_states(new, old)
    if states is not None:
        slow = (states[0].slow, states[1].slow)
        value, variance = _within_states(new, old, slow, confidence)
        return value, _sum([variance, *sessions])
    if paired:
        pairs = new - old
        found = _widest(_possible_of_compared(pairs, files=2), confidence)
        mean = Variance(found.value / len(pairs), found.degrees)
        return float(pairs.mean()), _sum([mean, *sessions])
    both = product(_of_session(new, old), _of_session(old, new))
    sums = [_sum([*sides, *sessions]) for sides in both]
    return float(new.mean() - old.mean()), _widest(sums, confidence)


def _within_states(
    new: Logs,
    old: Logs,
    slow: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
    confidence: float,
) -> tuple[float, Variance]:
    """Differences within the fast state and within the slow one, weighted by what they show."""
    squares = total = weights = 0.0
    for ours, theirs in ((new[slow[0]], old[slow[1]]), (new[~slow[0]], old[~slow[1]])):
        weight = len(ours) * len(theirs) / (len(ours) + len(theirs))
        total += weight * float(ours.mean() - theirs.mean())
        weights += weight
        squares += float(((ours - ours.mean()) ** 2).sum() + ((theirs - theirs.mean()) ** 2).sum())
    degrees = len(new) + len(old) - 4
    variance = _cautious(Variance(squares / degrees, degrees), PRIOR**2, confidence)
    return total / weights, Variance(variance.value / weights, variance.degrees)


def _of_mean(logs: Logs, confidence: float) -> Variance:
    """The variance of the mean of processes; see :func:`_possible`."""
    found = _widest(_possible(logs), confidence)
    return Variance(found.value / len(logs), found.degrees)


def _possible(logs: Logs, files: int = 1) -> list[Variance]:
    """What a process may vary by: as the prior says, and of several also as was seen.

    Args:
        logs: A figure of each process, or the difference of two.
        files: How many files a value is of.
    """
    prior = files * PRIOR**2
    if len(logs) < 2:
        return [Variance(prior, PRIOR_DEGREES)]
    seen = _seen(logs)
    return [seen, _weighed(seen, prior)]


def _possible_of_compared(logs: Logs, files: int = 1) -> list[Variance]:
    """As :func:`_possible`, and two speeds of the machine, which a few processes cannot show."""
    possible = _possible(logs, files)
    if len(logs) < SHOWING_SPEEDS:
        possible.append(Variance(files * TWO_SPEEDS**2, MOST_DEGREES))
    return possible


def _seen(logs: Logs) -> Variance:
    """What processes vary by among themselves."""
    return Variance(float(logs.var(ddof=1)), len(logs) - 1)


def _weighed(seen: Variance, prior: float) -> Variance:
    """What was seen and a prior, each with the weight of its degrees of freedom."""
    degrees = seen.degrees + PRIOR_DEGREES
    return Variance((PRIOR_DEGREES * prior + seen.degrees * seen.value) / degrees, degrees)


def _cautious(seen: Variance, prior: float, confidence: float) -> Variance:
    """What was seen, alone or weighed with a prior: that which gives the wider interval."""
    return _widest([seen, _weighed(seen, prior)], confidence)


def _widest(possible: Sequence[Variance], confidence: float) -> Variance:
    return max(possible, key=lambda each: _half_width(each, confidence))


def _of_session(logs: Logs, others: Logs) -> list[Variance]:
    """What the mean of a session may vary by.

    Which of them makes the widest interval depends on what is added to it. A single process, and
    a few that agree by chance, say little of how much processes differ on this machine, so the
    other session counts too if it has more.

    Args:
        logs: Of the session's processes, in their order.
        others: The same of the other session.
    """
    possible = _possible_of_compared(logs)
    if len(logs) < len(others):
        possible.append(_pooled(logs, others))
    drift = _of_drift(logs)
    return [Variance(each.value / len(logs) + drift, each.degrees) for each in possible]


def _pooled(logs: Logs, others: Logs) -> Variance:
    """What processes vary by, each around the mean of its own session."""
    degrees = len(logs) + len(others) - 2
    squares = sum(float(((each - each.mean()) ** 2).sum()) for each in (logs, others))
    return Variance(squares / degrees, degrees)


def _of_drift(logs: Logs) -> float:
    """The variance of a session's mean by its drift, in the order of its processes.

    What drifts is not at its mean level by chance: half of the drift, less what noise alone looks
    like, is an error of the whole session.
    """
    count = len(logs)
    if count < LEAST_OF_DRIFT:
        return 0.0
    place = np.arange(count) - (count - 1) / 2
    slope = float((place * logs).sum() / (place**2).sum())
    rest = logs - logs.mean() - slope * place
    noise = float((rest**2).sum()) / (count - 2) / float((place**2).sum())
    return max(0.0, slope**2 - noise) * (count / 2) ** 2


def _sum(parts: Sequence[Variance]) -> Variance:
    """A sum of variances; its degrees of freedom are those of Welch and Satterthwaite."""
    total = sum(part.value for part in parts)
    below = sum(part.value**2 / part.degrees for part in parts)
    degrees = total**2 / below if below else sum(part.degrees for part in parts)
    return Variance(total, degrees)


def _interval(log: float, variance: Variance, confidence: float) -> Estimate:
    half = _half_width(variance, confidence)
    return Estimate(*(_exp(x) for x in (log, log - half, log + half)))


def _half_width(variance: Variance, confidence: float) -> float:
    return student(confidence, _whole(variance.degrees)) * math.sqrt(variance.value)


def _resolution(variance: Variance, confidence: float) -> float:
    """The change whose interval excludes none with POWER: the sum of two quantiles away from it."""
    degrees = _whole(variance.degrees)
    quantiles = student(confidence, degrees) + student(2 * POWER - 1, degrees)
    return _exp(quantiles * math.sqrt(variance.value)) - 1


def _whole(degrees: float) -> int:
    """Rounded down, which widens an interval."""
    return max(1, min(int(degrees + 1e-9), MOST_DEGREES))


def _exp(log: float) -> float:
    """Within what JSON and people can hold, however wild two processes are."""
    return math.exp(max(-700.0, min(log, 700.0)))
