"""Properties of the statistics, and what they promise: shown by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edgeconv.bench.statistics import (
    STUDENT_975,
    _resampled_log_medians,
    _student,
    median,
    percentile,
    ratio,
)

pytestmark = pytest.mark.slow

Processes = list[list[int]]

samples = st.lists(st.integers(1, 10**12), min_size=1, max_size=30)
processes = st.lists(samples, min_size=1, max_size=6)
seeds = st.integers(0, 2**32 - 1)


@given(processes, seeds)
def test_interval_contains_the_median(given: Processes, seed: int) -> None:
    estimate = median(given, seed=seed)
    assert estimate.low <= estimate.value <= estimate.high


@given(samples)
def test_of_one_process_it_is_the_median(given: list[int]) -> None:
    # 1e-9: the way through the logarithm and back.
    assert median([given]).value == pytest.approx(np.median(given), rel=1e-9)


@given(processes, seeds, st.randoms())
def test_order_within_a_process_does_not_matter(
    given: Processes, seed: int, random: object
) -> None:
    shuffled = [random.sample(p, len(p)) for p in given]  # type: ignore[attr-defined]
    assert median(shuffled, seed=seed) == median(given, seed=seed)


@given(processes, st.integers(2, 1000))
def test_scale(given: Processes, factor: int) -> None:
    before, after = median(given), median([[x * factor for x in p] for p in given])
    for name in ("value", "low", "high"):
        # 1e-6: intervals of wild samples span many powers of ten, on the log scale.
        assert getattr(after, name) == pytest.approx(getattr(before, name) * factor, rel=1e-6)


@given(processes, seeds)
def test_a_model_against_itself(given: Processes, seed: int) -> None:
    estimate = ratio(given, given, paired=True, seed=seed)
    assert estimate.value == 1.0
    assert estimate.covers_one


@given(processes, processes)
def test_inverse_ratio(a: Processes, b: Processes) -> None:
    forth, back = ratio(a, b, paired=False), ratio(b, a, paired=False)
    assert forth.value * back.value == pytest.approx(1.0)


def test_pairs_need_partners() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        ratio([[1], [2]], [[1]], paired=True)


@pytest.mark.parametrize(("percent", "needed"), [(90, 100), (99, 1000)])
def test_percentile_needs_ten_samples_above(percent: int, needed: int) -> None:
    few = percentile([list(range(1, needed // 2)), list(range(needed // 2, needed))], percent)
    assert few.value is None
    assert few.reason == f"{needed - 1} samples, p{percent} needs {needed}"
    enough = percentile([list(range(1, needed + 1))], percent)
    assert enough.value == needed * percent / 100
    assert enough.reason is None


def test_student_quantiles() -> None:
    for degrees in range(1, 60):
        # 0.001 is the rounding of the table and the rest of the expansion.
        assert _student(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=1e-3)
    assert len(STUDENT_975) == 10


@pytest.mark.parametrize("count", [1, 2, 5, 8, 101])
def test_resampled_medians_have_the_distribution_of_a_plain_bootstrap(count: int) -> None:
    random = np.random.default_rng(5)
    values = random.lognormal(10, 0.5, count)
    drawn = np.zeros((20_000, 1), dtype=np.int64)
    quick = np.exp(_resampled_log_medians([values.tolist()], drawn, random)).ravel()
    resampled = np.log(random.choice(values, size=(20_000, count)))
    plain = np.exp(np.median(resampled, axis=1))
    for quantile in (0.05, 0.5, 0.95):
        shares = [(x <= np.quantile(plain, quantile) * (1 + 1e-9)).mean() for x in (quick, plain)]
        # Two shares of 20,000 draws each: their standard error is below 0.005.
        assert shares[0] == pytest.approx(shares[1], abs=0.02)


def session(
    random: np.random.Generator,
    *,
    processes: int,
    between: float,
    drift: float,
    slowdown: float = 1.0,
    jitter: float = 0.01,
) -> tuple[list[list[int]], list[list[int]]]:
    """Two models measured in turns (A B, B A, …), 60 samples a process.

    ``between`` is the relative standard deviation from process to process, ``drift`` the relative
    rise over the session; every fiftieth sample is hit by an interrupt.
    """
    got: dict[str, list[list[int]]] = {"a": [], "b": []}
    place = 0
    for repetition in range(processes):
        for model in "ab" if repetition % 2 == 0 else "ba":
            level = 1e6 * np.exp(random.normal(0, between)) * (1 + drift * place / (2 * processes))
            level *= slowdown if model == "b" else 1.0
            noise = np.abs(random.normal(0, jitter, 60))
            noise += (random.random(60) < 0.02) * random.exponential(0.5, 60)
            got[model].append((level * (1 + noise)).astype(int).tolist())
            place += 1
    return got["a"], got["b"]


# Standard deviation between processes, drift over the session.
NOISE = [(0.0, 0.0), (0.005, 0.0), (0.005, 0.05), (0.003, 0.1)]


@pytest.mark.parametrize(("count", "paired"), [(3, True), (3, False), (6, True)])
@pytest.mark.parametrize(("between", "drift"), NOISE)
def test_false_alarms(count: int, paired: bool, between: float, drift: float) -> None:
    """At most 5 % of A/A comparisons; 2.5 standard errors of 300 trials above that are chance."""
    random = np.random.default_rng(11)
    alarms = 0
    for trial in range(300):
        a, b = session(random, processes=count, between=between, drift=drift)
        alarms += not ratio(b, a, paired=paired, seed=trial).covers_one
    assert alarms / 300 <= 0.05 + 2.5 * (0.05 * 0.95 / 300) ** 0.5


@pytest.mark.parametrize(("between", "drift"), NOISE)
def test_a_slowdown_of_3_percent_is_found(between: float, drift: float) -> None:
    """In at least 90 % of trials with eight processes."""
    random = np.random.default_rng(12)
    found = 0
    for trial in range(200):
        a, b = session(random, processes=8, between=between, drift=drift, slowdown=1.03)
        found += ratio(b, a, paired=True, seed=trial).low > 1.0
    assert found / 200 >= 0.9
