"""The order of the steps, where they stop, and what is carried on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeconv.export.quantize import QuantizeOptions, RangeMethod, Rounding
from edgeconv.export.quantize.accuracy.escalation import (
    Assessment,
    Attempt,
    Budget,
    escalate,
    most_attempts,
)

pytestmark = pytest.mark.slow


def figures(sqnr_db: float, drop: float | None = None) -> Assessment:
    return Assessment(sqnr_db, drop, bytes=1000, latency_ns=1e6)


def climb(scores: dict[str, float], budget: float) -> list[Attempt]:
    """Attempts of a network on which each kind of step brings what ``scores`` says."""

    def assess(options: QuantizeOptions) -> Assessment:
        total = scores.get(options.range_method.value, 0.0)
        total += scores.get("equalization", 0.0) * options.equalization
        total += scores.get("correction", 0.0) * options.bias_correction
        total += scores.get("reconstruction", 0.0) * bool(options.reconstruction)
        total += scores.get("adaptive", 0.0) * (options.rounding is Rounding.ADAPTIVE)
        total += scores.get("float", 0.0) * options.float_places
        return figures(total)

    return escalate(QuantizeOptions(), Budget(min_sqnr_db=budget), assess)


def test_a_network_that_meets_the_budget_is_left_at_min_max() -> None:
    attempts = climb({"minmax": 30}, budget=25)
    assert [attempt.name for attempt in attempts] == ["min-max"]
    assert attempts[0].met
    assert not attempts[0].options.equalization


def test_each_step_comes_after_the_cheaper_ones() -> None:
    attempts = climb({"minmax": 10, "mse": 12, "equalization": 3, "adaptive": 1, "float": 1}, 20)
    assert [attempt.name for attempt in attempts] == [
        "min-max",
        "percentile ranges",
        "wide-percentile ranges",
        "mse ranges",
        "entropy ranges",
        "+ equalization",
        "+ bias correction",
        "+ layer reconstruction",
        "+ adaptive rounding",
        "+ the operators that lose most in float",
        "+ the worst neighborhood in float",
        "+ the 2 worst neighborhoods in float",
        "+ the 4 worst neighborhoods in float",
    ]
    assert [attempt.met for attempt in attempts] == [False] * 12 + [True]
    assert attempts[-1].options.range_method is RangeMethod.MSE


def test_an_accuracy_budget_alone_tries_higher_targets() -> None:
    """Each is above what the one before it kept, which may be more than was asked of it."""

    def assess(options: QuantizeOptions) -> Assessment:
        found = figures(10, drop=0.5)
        if options.repair_to is None:
            return found
        return replace(found, sqnr_db=options.repair_to + 1.5, repaired=True)

    budget = Budget(max_accuracy_drop=0.01)
    attempts = escalate(QuantizeOptions(), budget, assess)
    region = "+ the operators that lose most in float"
    names = [attempt.name for attempt in attempts if attempt.name.startswith(region)]
    assert names == [f"{region}, to reach {target} dB" for target in ("13.0", "17.5", "25.0")]
    assert len(attempts) <= most_attempts(QuantizeOptions(), budget)
    both = escalate(QuantizeOptions(), replace(budget, min_sqnr_db=12), assess)
    targets = [each.options.repair_to for each in both if each.options.repair_to is not None]
    assert targets == [12, 16.5, 21, 28.5]


def test_targets_end_where_one_is_out_of_reach() -> None:
    """What is in reach already is not asked for: that would be the same export again."""
    attempts = escalate(
        QuantizeOptions(),
        Budget(min_sqnr_db=8, max_accuracy_drop=0.01),
        lambda options: figures(10, drop=0.5),
    )
    targets = [each.options.repair_to for each in attempts if each.options.repair_to is not None]
    assert targets == [13]


def test_what_keeps_nothing_is_not_taken_for_the_most_accurate() -> None:
    """Its accuracy is not measured."""

    def assess(options: QuantizeOptions) -> Assessment:
        if options.range_method is RangeMethod.MSE:
            return figures(20, drop=0.1)
        return replace(figures(0), keeps_nothing=True)

    attempts = escalate(QuantizeOptions(), Budget(max_accuracy_drop=0.01), assess)
    assert attempts[-1].options.range_method is RangeMethod.MSE


def test_a_step_that_costs_accuracy_is_dropped() -> None:
    attempts = climb({"minmax": 10, "mse": 12, "correction": -3, "adaptive": 9}, 20)
    assert attempts[-1].met
    assert not attempts[-1].options.bias_correction


@pytest.mark.parametrize(
    ("repaired", "names"), [(True, ["as asked", "without repair"]), (False, ["as asked"])]
)
def test_repair_that_did_nothing_is_not_taken_back(repaired: bool, names: list[str]) -> None:
    """The second attempt would be the same export."""

    def assess(options: QuantizeOptions) -> Assessment:
        return replace(figures(20), repaired=repaired)

    attempts = escalate(QuantizeOptions(), Budget(max_bytes=10), assess)
    assert [attempt.name for attempt in attempts] == names


def test_when_nothing_meets_the_budget_the_last_attempt_says_so() -> None:
    attempts = climb({"minmax": 10}, budget=200)
    assert not any(attempt.met for attempt in attempts)


@pytest.mark.parametrize(
    ("budget", "figure", "met"),
    [
        (Budget(min_sqnr_db=25), figures(25.0), True),
        (Budget(min_sqnr_db=25), figures(24.9), False),
        (Budget(max_accuracy_drop=0.01), figures(0.0, drop=0.01), True),
        (Budget(max_accuracy_drop=0.01), figures(99.0, drop=0.02), False),
        (Budget(max_accuracy_drop=0.01), figures(99.0, drop=None), False),
        (Budget(min_sqnr_db=25, max_accuracy_drop=0.01), figures(20.0, drop=0.0), False),
        (Budget(max_bytes=10), Assessment(20.0, None, 10, None), True),
        (Budget(max_bytes=10), Assessment(20.0, None, 11, None), False),
        (Budget(max_latency_ns=5.0), Assessment(20.0, None, 1, 5.0), True),
        (Budget(max_latency_ns=5.0), Assessment(20.0, None, 1, 5.1), False),
        (Budget(max_latency_ns=5.0), Assessment(20.0, None, 1, None), False),
        (Budget(max_bytes=10), Assessment(0.0, None, 1, None, keeps_nothing=True), False),
    ],
)
def test_budgets(budget: Budget, figure: Assessment, met: bool) -> None:
    assert budget.met_by(figure) is met
