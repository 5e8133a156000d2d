"""What a session does about a machine that changes: more repetitions, clocks, heat, quotas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv.bench import measure
from edgeconv.device import Event
from edgeconv.device.messages import EVENT, Conditions, Samples, Warmup
from support.scripted_device import QUICK, Scripted, answer, conditions

pytestmark = pytest.mark.usefixtures("unchecked")


def asked(answers: Callable[[int, str], list[Event]], pair: list[Path], **options: Any) -> int:
    """How many processes a file needed."""
    device = Scripted(answers)
    result = measure(pair, QUICK.model_copy(update={"detect": 0.03} | options), device)
    assert {len(model.processes) for model in result.models} == {len(device.asked) // len(pair)}
    return len(device.asked) // len(pair)


def test_repetitions_adapt_to_the_question(pair: list[Path]) -> None:
    def noisy(spread: int) -> Callable[[int, str], list[Event]]:
        levels = np.random.default_rng(1).normal(1e6, spread, 100).round().astype(int).tolist()
        return lambda i, name: answer([levels[i]] * 20)

    assert asked(noisy(1_000), pair) == 6
    few = asked(noisy(20_000), pair)
    assert 6 < few < 40
    assert few % 2 == 0  # as many forth as back
    assert asked(noisy(200_000), pair, max_repetitions=10) == 10
    assert asked(noisy(200_000), pair, detect=None) == 3
    # A smaller question needs more, where they lie does not matter.
    assert asked(noisy(20_000), pair, detect=0.02) > few
    twice = noisy(20_000)

    def shifted(index: int, name: str) -> list[Event]:
        if name == "a.tflite":
            return twice(index, name)
        (samples,) = [e.ns for e in twice(index, name) if isinstance(e, Samples)][:1]
        return answer([2 * samples[0]] * 20)

    assert asked(shifted, pair) == few


def test_one_file_adapts_to_its_own_interval(pair: list[Path]) -> None:
    def answers(index: int, name: str) -> list[Event]:
        return answer([1_000_000 + 20_000 * (index % 3)] * 20)

    assert 6 < asked(answers, pair[:1], detect=0.02) < 40


def test_a_process_on_a_slower_clock_is_repeated_and_does_not_count(
    pair: list[Path],
) -> None:
    """1.8 and 1.2 GHz in one result went unnoticed: each process by itself was steady."""

    def answers(index: int, name: str) -> list[Event]:
        hertz = 1_200_000_000 if index in (2, 3, 4) else 1_800_000_000
        return steady(hertz)

    def steady(hertz: int) -> list[Event]:
        samples = [1000 if hertz > 1_500_000_000 else 1500] * 4
        events = answer(samples, after={"frequencies_hz": [hertz]})
        state = conditions(frequencies_hz=[hertz])
        return [
            event.model_copy(update={"conditions": Conditions(**state)})
            if isinstance(event, Warmup)
            else event
            for event in events
        ]

    options = QUICK.model_copy(update={"repetitions": 4, "retries": 2})
    result = measure(pair[:1], options, Scripted(answers))
    assert [aside.reason for aside in result.set_aside] == [
        "the CPU ran at 1.20 GHz, in other processes at 1.80"
    ] * 2
    runs = result.models[0].processes
    assert [bool(run.disturbances) for run in runs] == [False, False, True, False]
    assert result.models[0].summary.median.value == pytest.approx(1000)
    assert any("1 of 4 processes ran at 1.2 GHz" in warning for warning in result.warnings)
    # The fast clock comes last: what was measured before is marked all the same.
    late = measure(
        pair[:1],
        options.model_copy(update={"retries": 0}),
        Scripted(lambda i, name: steady(1_800_000_000 if i > 1 else 1_200_000_000)),
    )
    assert [bool(run.disturbances) for run in late.models[0].processes] == [
        True,
        True,
        False,
        False,
    ]


def test_an_idle_core_may_change_its_clock(pair: list[Path]) -> None:
    def answers(index: int, name: str) -> list[Event]:
        events = answer(
            [1000] * 4, after={"frequencies_hz": [1_500_000_000, 600_000_000]} | busy(1.0, 0.01)
        )
        before = conditions(frequencies_hz=[1_500_000_000] * 2, **busy(0.0, 0.0))
        warmup = events[4]
        assert isinstance(warmup, Warmup)
        events[4] = warmup.model_copy(update={"conditions": Conditions(**before)})
        return events

    def busy(*seconds: float) -> dict[str, Any]:
        return {"busy_seconds": seconds}

    assert len(measure(pair, QUICK, Scripted(answers)).warnings) == 1  # the governor


def with_reading(**state: Any) -> list[Event]:
    """A process in whose middle the device was in that state."""
    *events, done = answer([1000] * 4)
    reading = {"event": "reading", "ns": 500, "watts": None, "conditions": conditions(**state)}
    return [*events, EVENT.validate_python(reading), done]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        # It came and went, and the bits that remember were set long before.
        ({"throttled": "50004"}, "the board reports: throttled"),
        ({"temperature_c": 95.0}, "the board reached 95 °C, where boards slow down"),
        ({"frequencies_hz": [900_000_000]}, "the CPU frequency changed by up to 40%"),
    ],
)
def test_what_happens_during_a_process_is_seen(
    pair: list[Path], state: dict[str, Any], said: str
) -> None:
    result = measure(pair, QUICK, Scripted(lambda i, name: with_reading(**state)))
    assert all(run.disturbances for model in result.models for run in model.processes)
    assert any(said in warning for warning in result.warnings), result.warnings


def test_a_quota_of_the_container_is_seen(pair: list[Path]) -> None:
    result = measure(
        pair, QUICK, Scripted(lambda i, name: answer([1000] * 4, after={"stopped_seconds": 0.3}))
    )
    reason = "the CPU quota stopped it for 30% of the time"
    assert {run.disturbances for m in result.models for run in m.processes} == {(reason,)}


def test_a_throttled_board_may_cool_down_before_the_next_try(
    pair: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("edgeconv.bench.processes.time.sleep", slept.append)

    def answers(index: int, name: str) -> list[Event]:
        return answer([1000] * 4, after={"throttled": "4"} if index == 0 else None)

    measure(pair, QUICK.model_copy(update={"retries": 1}), Scripted(answers))
    assert slept == [10.0]


def test_two_hidden_states_are_separated(pair: list[Path]) -> None:
    options = QUICK.model_copy(update={"repetitions": 8})
    device = Scripted(lambda i, name: answer([1000 + i + 200 * (i % 4 > 1)] * 4))
    result = measure(pair[:1], options, device)
    (warning,) = [w for w in result.warnings if "two states" in w]
    assert "4 of 8 processes took 20% longer than the others" in warning


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"continued": 1}, "a signal stopped the process once, and it was continued"),
        ({"continued": 3}, "a signal stopped the process 3 times, and it was continued"),
        ({"suspended_seconds": 7.25}, "the device was suspended for 7.2 s"),
    ],
)
def test_a_process_that_paused_is_repeated(
    pair: list[Path], state: dict[str, Any], said: str
) -> None:
    """Its samples held the pause, or followed upon it with cold caches, and counted."""

    def answers(index: int, name: str) -> list[Event]:
        return answer([1000] * 4, after=state if index == 0 else None)

    options = QUICK.model_copy(update={"retries": 1})
    result = measure(pair, options, Scripted(answers))
    assert [aside.reason for aside in result.set_aside] == [said]
    assert not any(run.disturbances for model in result.models for run in model.processes)
    always = measure(pair, QUICK, Scripted(lambda i, name: answer([1000] * 4, after=state)))
    assert all(run.disturbances == (said,) for m in always.models for run in m.processes)
    assert always.warnings.count(said) == 1
