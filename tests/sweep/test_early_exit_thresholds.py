"""The search for thresholds against brute force, and intervals against simulations."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special

from edgeconv.bench.result import Interval
from edgeconv.sweep.confidence import Confidence, Floats, confidences
from edgeconv.sweep.expected import expected_cost, wilson
from edgeconv.sweep.thresholds import Bools, Threshold, exits_taken, find_thresholds

MANY = 10**6
Case = tuple[Floats, Bools, tuple[float, ...]]


@st.composite
def cases(draw: st.DrawFn, exits: int = 2, samples: int = 12) -> Case:
    """Confidences with ties, outcomes, and costs that are whole so that sums are exact."""
    count = draw(st.integers(1, samples))
    levels = st.sampled_from([0.0, 0.25, 0.5, np.nextafter(0.5, 1), 0.75, 1.0])
    confidence = draw(arrays(np.float64, (count, exits - 1), elements=levels))
    right = draw(arrays(np.bool_, (count, exits)))
    costs = draw(st.tuples(*[st.integers(1, 9).map(float)] * exits))
    return confidence, right, costs


def figures(case: Case, thresholds: tuple[Threshold, ...]) -> tuple[float, int]:
    """The cost and what is right, sample by sample."""
    confidence, right, costs = case
    cost, correct = 0.0, 0
    for sure, outcomes in zip(confidence, right, strict=True):
        for exit, each in enumerate(costs):
            cost += each
            limit = thresholds[exit] if exit < len(thresholds) else -1.0
            if exit == len(thresholds) or (limit is not None and sure[exit] >= limit):
                correct += int(outcomes[exit])
                break
    return cost, correct


def brute_front(case: Case) -> set[tuple[float, int]]:
    tried = [[None, *np.unique(column)] for column in case[0].T]
    points = {figures(case, thresholds) for thresholds in product(*tried)}
    return {
        (cost, correct)
        for cost, correct in points
        if not any(c <= cost and r >= correct and (c, r) != (cost, correct) for c, r in points)
    }


@given(cases())
def test_one_threshold_is_exact(case: Case) -> None:
    found = find_thresholds(*case, most=MANY)
    points = [figures(case, thresholds) for thresholds in found]
    assert set(points) == brute_front(case)
    assert len(points) == len(set(points))


@settings(max_examples=30)
@given(cases(exits=3, samples=8))
def test_two_thresholds_are_exact_on_few_samples(case: Case) -> None:
    """So few confidences are all tried."""
    found = find_thresholds(*case, most=MANY)
    assert {figures(case, thresholds) for thresholds in found} == brute_front(case)


@given(cases(exits=4), st.integers(1, 5))
def test_no_row_beats_another(case: Case, most: int) -> None:
    found = find_thresholds(*case, most=most)
    points = [figures(case, thresholds) for thresholds in found]
    assert 1 <= len(points) <= most
    assert points == sorted(points)
    assert len({cost for cost, _ in points}) == len({right for _, right in points}) == len(points)


@given(cases(exits=3))
def test_who_leaves_is_who_is_sure(case: Case) -> None:
    for thresholds in find_thresholds(*case, most=MANY):
        taken = exits_taken(case[0], thresholds)
        cost = sum(math.fsum(case[2][: exit + 1]) for exit in taken)
        right = int(case[1][np.arange(len(taken)), taken].sum())
        assert (cost, right) == figures(case, thresholds)


@given(cases(exits=3), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_higher_thresholds_let_fewer_leave(
    case: Case, low: float, high: float, other: float
) -> None:
    low, high = min(low, high), max(low, high)
    early, late = (exits_taken(case[0], (each, other)) for each in (low, high))
    assert (early <= late).all()
    assert (late <= exits_taken(case[0], (None, None))).all()


def test_the_front_of_many_samples_is_short_and_keeps_its_ends() -> None:
    rng = np.random.default_rng(0)
    sure = rng.random((20_000, 2))
    right = np.stack([rng.random(20_000) < 0.5 + sure[:, 0] / 2, rng.random(20_000) < 0.97], 1)
    found = find_thresholds(sure[:, :1], right, (1.0, 4.0), most=12)
    whole = find_thresholds(sure[:, :1], right, (1.0, 4.0), most=MANY)
    assert len(found) == 12
    assert len(whole) > 100
    assert found[0] == whole[0] == (0.0,)
    assert found[-1] == whole[-1]


@given(arrays(np.float32, st.integers(2, 6), elements=st.floats(-50, 50, width=32)))
def test_confidences_are_those_of_scipy(logits: np.ndarray) -> None:
    shares = special.softmax(logits.astype(np.float64))
    ordered = np.sort(shares)[::-1]
    entropy = 1 - special.entr(shares).sum() / math.log(len(shares))
    expected = [ordered[0], ordered[0] - ordered[1], max(0.0, entropy)]
    # Both sum in float64; the entropy of nearly certain classes loses digits below 1.
    np.testing.assert_allclose(confidences(logits), expected, rtol=1e-12, atol=1e-12)
    assert len(Confidence) == len(expected)


@given(st.integers(1, 200), st.data())
def test_shares_have_wilsons_interval(total: int, data: st.DataObject) -> None:
    from scipy.stats import binomtest

    count = data.draw(st.integers(0, total))
    expected = binomtest(count, total).proportion_ci(0.95, method="wilson")
    # 1.959964 has seven digits.
    assert wilson(count, total) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("shares", [(0.6, 0.3, 0.1), (0.97, 0.02, 0.01), (0.1, 0.1, 0.8)])
def test_intervals_hold_the_true_cost_in_95_percent(
    shares: tuple[float, float, float], noise: float
) -> None:
    """Of 2000 simulated sweeps, with measured costs that vary, and 300 samples each."""
    rng = np.random.default_rng(1)
    true = np.array([1.0, 2.0, 5.0])
    expected = float(np.cumsum(true) @ shares)
    held = 0
    for _ in range(2000):
        at = rng.multinomial(300, shares)
        ran = [300, int(at[1] + at[2]), int(at[2])]
        measured = true * (1 + noise * rng.standard_normal(3))
        half = 1.959964 * noise * true
        costs = [
            Interval(value=value, low=value - each, high=value + each)
            for value, each in zip(measured, half, strict=True)
        ]
        found = expected_cost(ran, costs)
        held += found.low <= expected <= found.high
    # Four standard errors of a simulated 95 % are 2 points; Wilson's are a little wide at the edge.
    assert 0.93 <= held / 2000 <= 0.985


def test_the_interval_of_one_exit_is_that_of_its_time() -> None:
    cost = Interval(value=10.0, low=9.0, high=12.0)
    second = Interval(value=5.0, low=5.0, high=5.0)
    found = expected_cost([100, 0], [cost, second])
    assert found.value == 10.0
    assert found.low == pytest.approx(9.0)  # no share is below none
    assert found.high == pytest.approx(10 + math.hypot(2, 5 * wilson(0, 100)[1]))
