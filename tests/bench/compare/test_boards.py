"""Boards of a pool: one that is slower is found, and equal ones raise few alarms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeconv.bench.compare.boards import Figures, agreement, agreement_of
from edgeconv.bench.result import ModelResult
from support.results import made_model, made_result

SESSION, PROCESS = 0.01, 0.01  # relative, as measured on quiet Linux boards
Random = np.random.Generator


def model(name: str, medians: list[int], **changes: Any) -> ModelResult:
    """A file that only its name makes another one, whatever it takes."""
    made = made_model(name, medians, **changes)
    return made.model_copy(update={"file": made.file.model_copy(update={"sha256": name})})


def session(random: Random, *, repetitions: int = 3, slower: float = 1.0) -> Figures:
    """The logs of a board's figures: those of a process move together."""
    logs = np.log(3e6 * slower) + random.normal(0, SESSION) + random.normal(0, PROCESS, repetitions)
    return logs, logs - 0.05 + random.normal(0, PROCESS / 2, repetitions)


@pytest.mark.parametrize("boards", [2, 3, 5])
@pytest.mark.parametrize(
    "repetitions",
    [pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(10, marks=pytest.mark.slow)],
)
def test_equal_boards_raise_few_alarms(boards: int, repetitions: int) -> None:
    """In 5 % of cases at most."""
    random = np.random.default_rng(100 * boards + repetitions)
    alarms = 0
    for _ in range(1000):
        results = {str(board): session(random, repetitions=repetitions) for board in range(boards)}
        alarms += bool(agreement_of(results).off)
    assert alarms <= 0.05 * 1000


@pytest.mark.parametrize("boards", [2, 3, 5])
def test_a_slower_board_is_found(boards: int) -> None:
    """A tenth slower, in about 19 of 20 cases, and no other board but it."""
    random = np.random.default_rng(boards)
    found = others = 0
    for _ in range(200):
        results = {str(board): session(random) for board in range(boards - 1)}
        results["slow"] = session(random, slower=1.1)
        off = agreement_of(results).off
        others += bool(off.keys() - {"slow"})
        if "slow" in off:
            found += 1
            assert off["slow"].low > 1.0
    assert found >= 0.92 * 200  # of 19 in 20, less two standard errors of 200 trials
    assert others <= 0.05 * 200


def test_a_faster_board_of_three_disagrees_too() -> None:
    random = np.random.default_rng(3)
    results = {"a": session(random), "b": session(random), "fast": session(random, slower=0.8)}
    found = agreement_of(results)
    assert set(found.off) == {"fast"}
    assert found.off["fast"].value == pytest.approx(0.8, abs=0.05)
    assert found.middle in "ab"


def test_what_shows_nothing() -> None:
    """One process for each file, no file in common, and a board alone."""
    one = made_result(model("m", [1000]))
    assert agreement({"a": one, "b": made_result(model("m", [2000]))}).off == {}
    two = made_result(model("m", [1000, 1001]))
    other = made_result(model("n", [2000, 2001]))
    assert agreement({"a": two, "b": other}).off == {}
    assert agreement({"a": two}).middle == "a"


def test_what_slows_all_files_is_found_in_results() -> None:
    files = [("m", [1000, 1001, 999]), ("n", [5000, 5004, 5003])]
    here = made_result(*(model(name, medians) for name, medians in files))
    slow = made_result(*(model(name, [round(1.1 * m) for m in times]) for name, times in files))
    found = agreement({"slow": slow, "a": here, "b": here})
    assert found.middle in "ab"
    assert found.off.keys() == {"slow"}
    assert found.off["slow"].value == pytest.approx(1.1, rel=0.01)


def test_a_disturbed_process_does_not_count() -> None:
    calm = made_result(model("m", [1000, 1001, 1000, 999]))
    once = made_result(model("m", [1000, 2000, 1001, 999], disturbed=(1,)))
    assert agreement({"a": calm, "b": once}).off == {}
