"""A measurement that must find a difference ends in time, also on a machine that others use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeconv.bench import BenchResult, measure, time_limit
from edgeconv.bench.adaptive import pairs_of
from edgeconv.bench.compare.side_by_side import Sides, compare_side_by_side
from edgeconv.device import Event
from support.scripted_device import QUICK, Scripted, answer, conditions

pytestmark = pytest.mark.usefixtures("unchecked")
BUSY = conditions(own_cpu_seconds=2.0, all_cpu_seconds=103.0)  # others used two cores
LIMIT = 600.0


class Session:
    """A measurement on a scripted device, with a clock that only the device moves.

    Args:
        pair: The files.
        monkeypatch: Sets the clock.
        seconds: How long each process takes.
        busy: Whether others use the machine.
    """

    def __init__(
        self, pair: list[Path], monkeypatch: pytest.MonkeyPatch, seconds: float, *, busy: bool
    ) -> None:
        self.now = 0.0
        self._pair, self._seconds, self._busy = pair, seconds, busy
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(time_limit, "time", clock)
        self.shown: list[tuple[str, int, int]] = []

    def _answer(self, index: int, name: str) -> list[Event]:
        self.now += self._seconds
        after = BUSY if self._busy else None
        return answer([1_000_000 + 1000 * (index % 7)] * 20, after=after)

    def measure(self, **options: Any) -> BenchResult:
        asked = {"detect": 0.03, "repetitions": 6, "retries": 2, "max_time": LIMIT} | options
        return measure(
            self._pair,
            QUICK.model_copy(update=asked),
            Scripted(self._answer),
            lambda *report: self.shown.append(report),
        )


@pytest.mark.parametrize(
    ("seconds", "ended_by"),
    [
        (1.0, "the most that were allowed"),
        (10.0, "--max-time 10:00 ended it"),
        (40.0, "10:00"),
        (100.0, "10:00"),
        (140.0, "10:00"),
    ],
)
def test_a_busy_machine_ends_in_time(
    pair: list[Path], monkeypatch: pytest.MonkeyPatch, seconds: float, ended_by: str
) -> None:
    session = Session(pair, monkeypatch, seconds, busy=True)
    result = session.measure(in_pairs=True)
    assert session.now <= LIMIT
    counts = {len(model.processes) for model in result.models}
    assert len(counts) == 1  # whole rounds
    (count,) = counts
    assert count >= 2
    why = "too few to find 3% here" if count >= 6 else "fewer than the 6 that an answer needs"
    assert f"{count} processes of each file are {why}, and " in result.warnings[0]
    assert ended_by in result.warnings[0]
    sides = Sides.of(pair[:1], pair[1:])
    report = compare_side_by_side(sides, result)
    assert report.comparisons[0].doubts  # inconclusive, never a verdict


def test_two_rounds_are_measured_in_any_case(
    pair: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(pair, monkeypatch, 400.0, busy=True)
    result = session.measure()
    assert [len(model.processes) for model in result.models] == [2, 2]
    assert session.now == 4 * 400  # nothing was repeated


def test_a_quiet_machine_needs_what_it_needed(
    pair: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(pair, monkeypatch, 2.0, busy=False)
    result = session.measure(in_pairs=True)
    assert [len(model.processes) for model in result.models] == [6, 6]
    assert not any("max-time" in warning for warning in result.warnings)
    # The limit is the only time that is shown: how many processes it takes is not known.
    assert session.shown[0] == ("Measuring a.tflite (at most 10:00 more)", 0, 0)
    assert session.shown[-1] == ("Measuring a.tflite (at most 9:38 more)", 11, 0)


def test_a_gate_that_allows_nothing_ends_in_time(
    pair: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No number of processes finds a change of 0 %, so there is nothing to look for."""
    session = Session(pair, monkeypatch, 100.0, busy=True)
    result = session.measure(in_pairs=True, detect=None)
    assert session.now <= LIMIT
    assert "fewer than the 6 that an answer needs, and --max-time" in result.warnings[0]


def test_without_a_question_there_is_no_limit(
    pair: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(pair, monkeypatch, 400.0, busy=True)
    result = session.measure(detect=None, repetitions=3)
    assert [len(model.processes) for model in result.models] == [3, 3]
    assert len(result.set_aside) == 2 * 2 * 3
    assert session.shown[0] == ("Measuring a.tflite", 0, 6)
    assert session.shown[-1][1:] == (5, 6)


@pytest.mark.parametrize(
    ("threads", "rows", "pairs"),
    [
        (1, (0, 1, 2, 3), [(1, 0), (3, 2)]),
        (1, (0, 1, 3), [(1, 0)]),  # what the device cannot run has no partner
        ((1, 2), (0, 1, 2, 3), [(2, 0), (3, 1)]),
    ],
)
def test_each_new_file_is_compared_with_its_old_one(
    threads: int | tuple[int, ...], rows: tuple[int, ...], pairs: list[tuple[int, int]]
) -> None:
    options = QUICK.model_copy(update={"threads": threads})
    assert pairs_of(rows, options) == [(row, rows[0]) for row in rows[1:]]
    assert pairs_of(rows, options.model_copy(update={"in_pairs": True})) == pairs


def test_another_pair_does_not_prolong_a_gate(tmp_path: Path) -> None:
    """Files of one pair agree to 0.1 %; the pairs differ from process to process by 20 %."""
    files = [tmp_path / side / f"{name}.tflite" for name in "ab" for side in ("old", "new")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"1234TFL3")
    answers = _two_kinds()
    options = QUICK.model_copy(update={"detect": 0.03, "repetitions": 6})
    few = measure(files, options.model_copy(update={"in_pairs": True}), Scripted(answers))
    assert [len(model.processes) for model in few.models] == [6] * 4
    many = measure(files, options, Scripted(_two_kinds()))
    assert len(many.models[0].processes) > 6


def _two_kinds() -> Callable[[int, str], list[Event]]:
    def answers(index: int, name: str) -> list[Event]:
        drift = 1.2 ** (index // 4 % 3) if name == "b.tflite" else 1.0
        return answer([round(drift * (1_000_000 + 100 * (index % 5)))] * 20)

    return answers
