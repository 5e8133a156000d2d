"""Properties of the statistics, and what they promise: shown by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edgeconv.bench.sessions import NOT_KNOWN, SessionFigure, between_sessions
from edgeconv.bench.states import states_of
from edgeconv.bench.statistics import (
    Figure,
    Variance,
    compare,
    compare_logs,
    figure_of,
    level,
    of_logs,
    percentile,
    ratio,
    resolution_of,
)

pytestmark = pytest.mark.slow

Processes = list[list[int]]

samples = st.lists(st.integers(1, 10**12), min_size=1, max_size=30)
processes = st.lists(samples, min_size=1, max_size=6)


@given(processes)
def test_interval_contains_the_median(given: Processes) -> None:
    estimate = level(given)
    assert estimate.low <= estimate.value <= estimate.high


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=30, unique=True))
def test_of_one_process_it_is_the_median(given: list[int]) -> None:
    # 1e-9: the way through the logarithm and back.
    assert level([given]).value == pytest.approx(np.median(given), rel=1e-9)


@given(processes, st.randoms())
def test_order_within_a_process_does_not_matter(given: Processes, random: object) -> None:
    shuffled = [random.sample(p, len(p)) for p in given]  # type: ignore[attr-defined]
    assert level(shuffled) == level(given)


@given(processes, st.integers(2, 1000))
def test_scale(given: Processes, factor: int) -> None:
    before, after = level(given), level([[x * factor for x in p] for p in given])
    for name in ("value", "low", "high"):
        # 1e-6: intervals of wild samples span many powers of ten, on the log scale.
        assert getattr(after, name) == pytest.approx(getattr(before, name) * factor, rel=1e-6)


@given(processes)
def test_a_model_against_itself(given: Processes) -> None:
    estimate = ratio(given, given, paired=True)
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


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30))
def test_noise_is_counted_once(levels: list[float]) -> None:
    """The interval of one file is Student's of its processes' figures, or the prior's if wider."""
    given_samples = [[round(1e9 * math.exp(log))] * 9 for log in levels]
    logs = np.log([samples[0] for samples in given_samples])
    estimate = level(given_samples)
    count, variance = len(logs), float(logs.var(ddof=1))
    own = stats.t.ppf(0.975, count - 1) * math.sqrt(variance / count)
    weighed = (1 * 0.01**2 + (count - 1) * variance) / count  # the prior has one degree
    half = max(own, stats.t.ppf(0.975, count) * math.sqrt(weighed / count))
    # 1e-9: the way through the logarithm and back.
    assert estimate.low == pytest.approx(math.exp(max(logs.mean() - half, -700)), rel=1e-9)
    assert estimate.high == pytest.approx(math.exp(min(logs.mean() + half, 700)), rel=1e-9)


@pytest.mark.parametrize(
    ("count", "percent"), [(1, 13), (2, 2.2), (3, 1.1), (5, 0.5), (8, 0.3), (40, 0.05)]
)
def test_processes_that_agree_by_chance(count: int, percent: float) -> None:
    """Two that differed by a millionth gave [8.13200, 8.13201]."""
    estimate = level([[8_132_000 + place] * 99 for place in range(count)])
    width = 100 * math.log(estimate.high / estimate.value)
    assert width == pytest.approx(percent, rel=0.05)  # two digits
    pairs = [[8_132_000] * 99] * count
    assert compare(pairs, pairs, paired=True).median.width > estimate.width


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_narrowest_intervals_hold_too(count: int) -> None:
    """Of processes that differ by the prior's 1 %. It was 50 to 70 % of the narrowest tenth."""
    random = np.random.default_rng(13)
    found = [of_logs(random.normal(0, 0.01, count)) for _ in range(2000)]
    assert np.mean([each.covers_one for each in found]) >= 0.95
    narrowest = sorted(found, key=lambda each: each.width)[:200]
    # Two standard errors of 200 trials below 0.87, which it is at least.
    assert np.mean([each.covers_one for each in narrowest]) >= 0.82


def test_two_processes_do_not_give_an_absurd_interval() -> None:
    """It was [0.01, 1482.35] where the two differ by 1 %."""
    estimate = level([[1000] * 9, [1010] * 9])
    half = stats.t.ppf(0.975, 1) * math.log(1.01) / 2
    assert estimate.high / estimate.value == pytest.approx(math.exp(half))


def test_a_coarse_clock_is_averaged() -> None:
    """Ten steps of the clock an inference, whose phase is random: the median sees whole steps."""
    random = np.random.default_rng(4)
    for length in (10.25, 10.5, 10.75):
        samples = np.floor(length + random.random(2000)).astype(int).tolist()
        samples[:20] = [40] * 20  # interrupts
        for figure in Figure:
            # 0.01 of 10: the standard error of 2,000 tosses between two steps, and 20 capped ones.
            assert figure_of(samples, figure) == pytest.approx(length, abs=0.05)


def test_the_low_quantile_sees_through_a_job() -> None:
    """A job beside every fifth process, which slows 80 % of its samples by half."""
    random = np.random.default_rng(5)

    def file(scale: float, first: int) -> list[list[int]]:
        samples = 1e6 * scale * (1 + np.abs(random.normal(0, 0.01, (10, 60))))
        samples[first::5, 12:] *= [[1.2], [1.6]]
        return samples.astype(int).tolist()

    change = compare(file(1.03, 0), file(1.0, 1), paired=True)
    assert change.judged_by is Figure.LOW
    assert 1.02 < change.low.low < 1.03 < change.low.high < 1.04
    assert change.median.covers_one
    assert change.resolution < 0.02


def test_two_states_are_compared_each_with_its_like() -> None:
    """Every other process is 15 % slower; a plain interval is ten times as wide."""
    random = np.random.default_rng(6)
    slow = np.array([0, 1, 0, 1, 1, 0, 0, 1]) * 0.15
    old = slow + random.normal(0, 0.003, 8)
    new = slow[::-1] + 0.03 + random.normal(0, 0.003, 8)
    assert states_of(old) is not None
    change = compare_logs((new, old), (new, old), paired=True)
    assert change.low.value == pytest.approx(math.exp(0.03), rel=0.005)
    assert change.low.width < 0.02
    assert states_of(random.normal(0, 0.01, 8)) is None
    assert states_of(np.array([0.0, 0.0, 0.0, 0.2])) is None  # one outlier is no state


@given(st.lists(st.floats(-0.5, 0.5), min_size=4, max_size=40))
def test_states_are_a_clear_gap(logs: list[float]) -> None:
    values = np.array(logs)
    states = states_of(values)
    if states is not None:
        fast, slow = values[~states.slow], values[states.slow]
        assert slow.min() - fast.max() >= 0.05
        assert min(len(fast), len(slow)) >= 2


def test_a_session_that_drifts_is_not_at_its_mean_level() -> None:
    """Two sessions, of which one grew slower by 10 % and one faster by as much."""
    rise = np.linspace(0, 0.1, 8)
    change = compare_logs((rise, -rise), (rise, -rise), paired=False)
    assert change.median.covers_one
    calm = np.random.default_rng(1).normal(0, 0.003, 8)
    assert compare_logs((calm + 0.1, calm), (calm + 0.1, calm), paired=False).median.low > 1.08


def test_sessions_widen_the_interval() -> None:
    random = np.random.default_rng(2)
    new, old = random.normal(0, 0.001, 8), random.normal(0, 0.001, 8)
    near = compare_logs((new, old), (new, old), paired=False)
    far = compare_logs((new, old), (new, old), paired=False, between=Variance(1e-4, 1000))
    assert near.median.width < 0.01
    # Two sessions of 1 %: 97.5 % within 2.24 standard deviations of 1.41 %.
    assert far.median.width == pytest.approx(2 * 2.2414 * 0.01 * 2**0.5, rel=0.05)


@pytest.mark.parametrize("spread", [0.001, 0.003, 0.01, 0.03])
def test_fewer_processes_never_look_better(spread: float) -> None:
    """Two against eight had narrower intervals than three against eight, and one than two."""
    random = np.random.default_rng(13)
    between = NOT_KNOWN.variance
    widths, covered = {}, {}
    for count in (1, 2, 3, 8):
        found = []
        for _ in range(300):
            new, old = (random.normal(0, spread, size) for size in (count, 8))
            offset = random.normal(0, 0.01 * 2**0.5)  # of two sessions of the prior's 1 %
            logs = new + offset, old
            found.append(compare_logs(logs, logs, paired=False, between=between).median)
        widths[count] = np.quantile([each.width for each in found], [0.1, 0.5])
        covered[count] = float(np.mean([each.covers_one for each in found]))
    for few, more in ((2, 3), (3, 8)):
        # 2 %: the standard error of these quantiles is below 1 % of them.
        assert (widths[few] >= 0.98 * widths[more]).all(), widths
    assert widths[1][1] >= 0.9 * widths[2][1]  # it knows the noise of the other side's processes
    # 97.5 %, less two standard errors of 300 trials.
    assert min(covered.values()) >= 0.957


def test_the_resolution_of_one_file_is_that_against_another_measurement() -> None:
    """It was that of its own level, which is known better than a change by a factor of 1.4."""
    random = np.random.default_rng(7)
    logs, others = random.normal(0, 0.03, 8), random.normal(0, 0.03, 8)
    others *= logs.std() / others.std()
    change = compare_logs((logs, others), (logs, others), paired=False)
    # The two know their noise with 14 degrees of freedom, the one alone with 7: 2.5 against 2.8.
    assert change.resolution <= resolution_of(logs) <= 1.3 * change.resolution


def test_variance_between_sessions() -> None:
    random = np.random.default_rng(3)
    files = [
        [SessionFigure(s, float(log), 0.0) for s, log in enumerate(random.normal(0, 0.02, 200))]
    ]
    found = between_sessions(files)
    assert found.sessions == 200
    assert found.variance.value**0.5 == pytest.approx(0.02, rel=0.15)
    assert found.variance.degrees == pytest.approx(203)
    # Two files of the same sessions are one observation of each.
    assert between_sessions(files * 2).variance.degrees == pytest.approx(203)
    # What the sessions themselves do not know is no difference between them.
    noisy = [[SessionFigure(f.session, f.log, 0.02**2) for f in files[0]]]
    assert between_sessions(noisy).variance.value < 0.011**2
    assert between_sessions([]) == between_sessions([files[0][:1]]) == NOT_KNOWN


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
    for _ in range(300):
        a, b = session(random, processes=count, between=between, drift=drift)
        alarms += not ratio(b, a, paired=paired).covers_one
    assert alarms / 300 <= 0.05 + 2.5 * (0.05 * 0.95 / 300) ** 0.5


@pytest.mark.parametrize(("between", "drift"), NOISE)
def test_a_slowdown_of_3_percent_is_found(between: float, drift: float) -> None:
    """In at least 90 % of trials with eight processes."""
    random = np.random.default_rng(12)
    found = 0
    for _ in range(200):
        a, b = session(random, processes=8, between=between, drift=drift, slowdown=1.03)
        found += ratio(b, a, paired=True).low > 1.0
    assert found / 200 >= 0.9


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_a_machine_of_two_speeds_makes_no_difference(count: int) -> None:
    """Two pairs of processes met one speed with one file only in every eighth session."""
    random = np.random.default_rng(17)
    alarms = 0
    for _ in range(400):
        new, old = 0.15 * (random.random((2, count)) < 0.5) + random.normal(0, 0.003, (2, count))
        for paired in (True, False):
            change = compare_logs((new, old), (new, old), paired=paired)
            alarms += not change.of(change.judged_by).covers_one
    # 2.5 standard errors of 400 sessions above 5 %, each judged twice.
    assert alarms / 800 <= 0.05 + 2.5 * (0.05 * 0.95 / 400) ** 0.5


def test_twice_as_long_shows_with_two_processes() -> None:
    change = compare([[2000] * 9, [2010] * 9], [[1000] * 9, [1004] * 9], paired=True)
    assert change.median.low > 1.0
