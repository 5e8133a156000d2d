"""The tests on shares against SciPy's, and what they promise: shown by simulation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edgeconv.differences import (
    mcnemar,
    paired_difference,
    paired_means,
    unpaired_difference,
    unpaired_means,
)

pytestmark = pytest.mark.slow

Outcomes = list[tuple[bool, bool]]
outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200)
counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def both(pairs: Outcomes) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    before, after = np.array(pairs, dtype=np.bool_).T
    return before, after


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test(lost: int, won: int) -> None:
    expected = stats.binomtest(lost, lost + won).pvalue if lost + won else 1.0
    # 1e-9: sums of exponentials of log-gammas.
    assert mcnemar(lost, won) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_a_whole_validation_set() -> None:
    expected = stats.binomtest(24_500, 50_000).pvalue
    assert mcnemar(24_500, 25_500) == pytest.approx(expected, rel=1e-6)


@given(outcomes)
def test_paired_interval_and_test_agree(pairs: Outcomes) -> None:
    difference = paired_difference(*both(pairs))
    assert -1 <= difference.low <= difference.value <= difference.high <= 1
    inside = difference.low < 0 < difference.high
    assert not (difference.significant and inside)
    assert difference.significant or difference.low <= 0 <= difference.high


@given(outcomes)
def test_the_other_way_round_is_the_negative(pairs: Outcomes) -> None:
    before, after = both(pairs)
    there, back = paired_difference(before, after), paired_difference(after, before)
    assert there.p_value == back.p_value
    assert (there.value, there.low, there.high) == pytest.approx(
        (-back.value, -back.high, -back.low)
    )


@given(counts, counts)
def test_unpaired_interval_and_test_agree(before: tuple[int, int], after: tuple[int, int]) -> None:
    difference = unpaired_difference(before, after)
    assert -1 <= difference.low <= difference.value <= difference.high <= 1
    assert difference.significant or difference.low <= 0 <= difference.high
    table = [[right, total - right] for right, total in (before, after)]
    if np.min(np.sum(table, axis=0)) > 0:
        expected = stats.chi2_contingency(table, correction=False).pvalue
        assert difference.p_value == pytest.approx(expected, abs=1e-9)


def test_against_itself() -> None:
    right = np.arange(100) % 3 > 0
    assert paired_difference(right, right).p_value == 1.0
    assert unpaired_difference((100, 100), (50, 50)).p_value == 1.0


def networks(
    random: np.random.Generator, samples: int, *, flips: float, loss: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Two networks that are right in 90 % and 90 % - ``loss`` of all samples, and differ in
    ``flips`` of them."""
    draw = random.random(samples)
    lost, won = (flips + loss) / 2, (flips - loss) / 2
    before = draw < 0.9
    after = before ^ (draw < lost) ^ (draw >= 1 - won)
    return before, after


@pytest.mark.parametrize(("samples", "flips"), [(100, 0.1), (1000, 0.01), (1000, 0.1)])
def test_false_alarms(samples: int, flips: float) -> None:
    """At most 5 % of trials without a difference; 2.5 standard errors of 2000 above are chance."""
    random = np.random.default_rng(21)
    alarms = sum(
        paired_difference(*networks(random, samples, flips=flips, loss=0)).significant
        for _ in range(2000)
    )
    assert alarms / 2000 <= 0.05 + 2.5 * (0.05 * 0.95 / 2000) ** 0.5


@pytest.mark.parametrize(("flips", "loss"), [(0.02, 0.0), (0.03, 0.01), (0.1, 0.05), (0.2, 0.2)])
def test_the_interval_has_the_truth_in_it(flips: float, loss: float) -> None:
    """In 95 % of 2000 trials, less 2.5 standard errors."""
    random = np.random.default_rng(22)
    found = 0
    for _ in range(2000):
        difference = paired_difference(*networks(random, 1000, flips=flips, loss=loss))
        found += difference.low <= -loss <= difference.high
    assert found / 2000 >= 0.95 - 2.5 * (0.05 * 0.95 / 2000) ** 0.5


def test_pairs_find_what_shares_alone_do_not() -> None:
    """A loss of one point on 2000 samples: found in 90 % of trials, unpaired in few."""
    random = np.random.default_rng(23)
    paired = unpaired = 0
    for _ in range(200):
        before, after = networks(random, 2000, flips=0.015, loss=0.01)
        paired += paired_difference(before, after).significant
        shares = ((int(before.sum()), 2000), (int(after.sum()), 2000))
        unpaired += unpaired_difference(*shares).significant
    assert paired / 200 >= 0.9
    assert unpaired / 200 <= 0.3


@pytest.mark.parametrize("root", [False, True])
def test_intervals_of_means_cover(root: bool) -> None:
    """In about 95 % of data sets the interval holds the difference, and 0 where there is none."""
    rng = np.random.default_rng(0)
    paired, unpaired, zero = 0, 0, 0
    for _ in range(600):
        base = rng.gamma(2.0, 1.0, 60)
        more = base + rng.normal(0.3, 0.2, 60)
        truth = np.sqrt(2.3) - np.sqrt(2.0) if root else 0.3
        found = paired_means(base, more, root=root)
        paired += found.low <= truth <= found.high
        zero += not paired_means(base, base + rng.normal(0, 0.2, 60), root=root).significant
        other = unpaired_means(base, rng.gamma(2.0, 1.0, 80) + 0.3, root=root)
        unpaired += other.low <= truth <= other.high
    # Three standard deviations of a share of 95 % in 600 data sets.
    margin = 3 * (0.95 * 0.05 / 600) ** 0.5
    assert zero / 600 > 0.95 - margin
    assert paired / 600 > 0.95 - margin
    assert zero < 600
    assert unpaired / 600 > 0.95 - margin - 0.01  # normal, not Student's


def test_one_sample_shows_nothing() -> None:
    one, other = np.array([1.0]), np.array([3.0])
    for found in (paired_means(one, other), unpaired_means(one, other)):
        assert (found.value, found.low, found.high) == (2.0, 0.0, 2.0)
        assert not found.significant
    nothing = np.zeros(4)
    assert paired_means(nothing, nothing, root=True).value == 0.0
