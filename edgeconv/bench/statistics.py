"""Medians with honest intervals, from samples in several processes.

A process has its own memory layout and its own moment, so its samples share an error that more
samples do not reduce (Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013).
The unit of evidence is therefore the process: every interval comes from a bootstrap that draws
processes, then samples within each.

The figure of a model is the geometric mean over its processes of each process's median. On the log
scale it is a plain mean, its ratio is the mean of the ratios, and it does not depend on the unit.
A bootstrap over P processes is too narrow for few of them: its standard error lacks the factor
sqrt(P / (P - 1)), and a normal quantile stands where Student's belongs (Hesterberg, "What teachers
should know about the bootstrap", The American Statistician 69:4, 2015). Both are put right here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000  # the standard error is then known to 2 %
NORMAL_975 = 1.959964
# 97.5 % quantiles of Student's t for 1, 2, 3, … degrees of freedom.
STUDENT_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
BEYOND = 10  # samples that a percentile needs above it

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % confidence interval, in the unit of the samples (or a ratio)."""

    value: float
    low: float
    high: float

    @property
    def covers_one(self) -> bool:
        """Whether a ratio shows no difference."""
        return self.low <= 1.0 <= self.high


@dataclass(frozen=True)
class Percentile:
    """A tail of the samples of all processes together, or the reason why it is left blank."""

    value: float | None
    reason: str | None = None


def median(processes: Sequence[Sequence[int]], *, seed: int = 0) -> Estimate:
    """The geometric mean of the processes' medians, and its interval.

    Args:
        processes: the samples of each process; positive, at least one each.
        seed: of the bootstrap.
    """
    logs = _log_medians(processes)
    variance = _bootstrap_variance([processes], paired=True, seed=seed)[0]
    count = len(processes)
    return _interval(float(logs.mean()), _corrected(variance, count), count - 1)


def ratio(
    slow: Sequence[Sequence[int]],
    fast: Sequence[Sequence[int]],
    *,
    paired: bool,
    seed: int = 0,
) -> Estimate:
    """How many times the median of ``slow`` is that of ``fast``, and its interval.

    Args:
        slow: The samples of each process.
        fast: The same of the other model.
        paired: Process i of both ran side by side in one interleaved session. What drifted hit
            both alike, so their ratio is taken first and the processes are drawn in pairs.
        seed: The random seed of the bootstrap.
    """
    log_ratio = float(_log_medians(slow).mean() - _log_medians(fast).mean())
    if paired:
        if len(slow) != len(fast):
            raise ValueError(f"{len(slow)} and {len(fast)} processes cannot be paired")
        variance = _bootstrap_variance([slow, fast], paired=True, seed=seed)[0]
        return _interval(log_ratio, _corrected(variance, len(slow)), len(slow) - 1)
    counts = (len(slow), len(fast))
    variances = _bootstrap_variance([slow, fast], paired=False, seed=seed)
    parts = [_corrected(v, count) for v, count in zip(variances, counts, strict=True)]
    return _interval(log_ratio, sum(parts), _welch(parts, counts))


def percentile(processes: Sequence[Sequence[int]], percent: int) -> Percentile:
    """The nearest-rank percentile of all samples together, if at least ten lie above it.

    With fewer, a tail is an anecdote: p90 needs 100 samples, p99 needs 1000.
    """
    pooled = np.sort(np.concatenate([np.asarray(p, dtype=np.float64) for p in processes]))
    needed = math.ceil(100 * BEYOND / (100 - percent))
    if pooled.size < needed:
        return Percentile(None, f"{pooled.size} samples, p{percent} needs {needed}")
    return Percentile(float(pooled[math.ceil(pooled.size * percent / 100) - 1]))


def _log_medians(processes: Sequence[Sequence[int]]) -> Samples:
    medians = np.array([np.median(process) for process in processes])
    logs: Samples = np.log(medians)
    return logs


def _bootstrap_variance(
    groups: Sequence[Sequence[Sequence[int]]], *, paired: bool, seed: int
) -> list[float]:
    """Variance of each group's mean log median; paired: of the first minus the second."""
    random = np.random.default_rng(seed)
    size = (RESAMPLES, len(groups[0]))
    shared = random.integers(len(groups[0]), size=size)
    means = []
    for group in groups:
        drawn = shared if paired else random.integers(len(group), size=(RESAMPLES, len(group)))
        means.append(_resampled_log_medians(group, drawn, random))
    if paired:
        difference = means[0] - means[1] if len(means) == 2 else means[0]
        return [float(difference.mean(axis=1).var())]
    return [float(m.mean(axis=1).var()) for m in means]


def _resampled_log_medians(
    processes: Sequence[Sequence[int]], drawn: npt.NDArray[np.int64], random: np.random.Generator
) -> Samples:
    """Draw samples with replacement for every entry of ``drawn``, and take the log of their median.

    An entry of ``drawn`` is the index of the process whose samples are drawn.

    Nothing is drawn one by one: the k-th smallest of n draws with replacement is the sample at
    rank floor(n U), where U, the k-th smallest of n uniforms, is Beta(k, n + 1 - k).
    """
    ordered = [np.sort(np.asarray(process, dtype=np.float64)) for process in processes]
    values: Samples = np.log(np.concatenate(ordered))
    counts = np.array([len(process) for process in processes])
    starts = (np.cumsum(counts) - counts)[drawn]
    n = counts[drawn]
    lower = (n + 1) // 2
    below = random.beta(lower, n + 1 - lower)
    # The next order statistic above, which an even n needs: 1 - U shrinks by a Beta(n - k, 1).
    above = 1 - (1 - below) * random.beta(np.maximum(n - lower, 1), 1)
    above = np.where(n % 2 == 1, below, above)
    low = values[starts + np.minimum((n * below).astype(np.int64), n - 1)]
    high = values[starts + np.minimum((n * above).astype(np.int64), n - 1)]
    middle: Samples = (low + high) / 2
    return middle


def _corrected(variance: float, count: int) -> float:
    """Undo the bootstrap's division by P where the variance between processes needs P - 1."""
    return variance * count / (count - 1) if count > 1 else variance


def _welch(parts: Sequence[float], counts: Sequence[int]) -> int:
    """Degrees of freedom of a sum of variances (Welch and Satterthwaite), rounded down."""
    below = sum(v**2 / max(c - 1, 1) for v, c in zip(parts, counts, strict=True))
    if below == 0.0:
        return max(sum(counts) - 2, 1)
    return max(int(sum(parts) ** 2 / below), 1)


def _interval(log_value: float, variance: float, degrees: int) -> Estimate:
    half = _student(degrees) * math.sqrt(variance)
    return Estimate(math.exp(log_value), math.exp(log_value - half), math.exp(log_value + half))


def _student(degrees: int) -> float:
    """The 97.5 % quantile; of the normal distribution for no degree of freedom (one process)."""
    if degrees < 1:
        return NORMAL_975
    if degrees <= len(STUDENT_975):
        return STUDENT_975[degrees - 1]
    z = NORMAL_975  # Cornish and Fisher's expansion, exact to 0.001 from here on
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3
