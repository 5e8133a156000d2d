"""Progress in a log: a line now and then, from a clock of its own."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest

from edgeconv.errors import UsageError
from edgeconv.report import progress_lines
from edgeconv.report.progress_lines import VARIABLE
from edgeconv.report.tables import progress
from edgeconv.units import format_clock

LINE = re.compile(r"progress: after 0:\d\d: (.*)")


def wait_for(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed on standard error until a text came."""
    shown, end = "", time.monotonic() + 60
    while text not in shown and time.monotonic() < end:
        time.sleep(0.01)
        shown += capsys.readouterr().err
    return shown


def test_a_step_that_reports_nothing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "0.01")
    with progress("Starting", quiet=False) as show:
        lines = wait_for("Starting\n", capsys).splitlines()
        assert all(LINE.fullmatch(line) for line in lines)
        show("Calibrating\x1b[31m", 0, 4)
        assert "Calibrating\\x1b[31m, 0 of 4\n" in wait_for("0 of 4\n", capsys)
        show("Calibrating\x1b[31m", 1, 4)
        assert re.search(r"1 of 4, about \d+:\d\d left\n", wait_for("left\n", capsys))
        show("Writing", 0, 1)
        assert "Writing\n" in wait_for("Writing\n", capsys)
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_a_count_without_an_end_has_no_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "0.01")
    with progress("Starting", quiet=False) as show:
        show("Measuring a (at most 2:44 more)", 0, 0)
        show("Measuring b (at most 2:40 more)", 3, 0)
        line = "Measuring b (at most 2:40 more), 3 done\n"
        assert line in wait_for(line, capsys)


def test_of_several_steps_the_time_left_is_that_of_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "0.01")
    with progress("Starting", quiet=False, steps=True) as show:
        show("Calibrating", 0, 4)
        show("Calibrating", 1, 4)
        shown = wait_for("left of this step\n", capsys)
        assert re.search(r"Calibrating, 1 of 4, about \d+:\d\d left of this step\n", shown)


def test_files_that_take_turns_have_one_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each turn has the name of its file, and the time left is that of all turns."""
    monkeypatch.setenv(VARIABLE, "0.01")
    now = 0.0
    monkeypatch.setattr(progress_lines, "time", SimpleNamespace(monotonic=lambda: now))
    with progress("Starting", quiet=False) as show:
        for done in range(9):
            show(f"Measuring {'ab'[done % 2]}", done, 24)
            now += 10
        line = "Measuring a, 8 of 24, about 3:00 left\n"  # 9 turns' time for 8
        assert line in wait_for(line, capsys)
        show("Measuring b", 9, 28)  # more turns than were planned
        line = "Measuring b, 9 of 28, about 3:10 left\n"
        assert line in wait_for(line, capsys)
        show("Verifying", 0, 4)  # another step
        now += 10
        show("Verifying", 1, 4)
        line = "Verifying, 1 of 4, about 0:30 left\n"
        assert line in wait_for(line, capsys)
        show("Verifying", 0, 4)  # a second time
        now += 10
        show("Verifying", 2, 4)
        line = "Verifying, 2 of 4, about 0:10 left\n"
        assert line in wait_for(line, capsys)
        show("Translating", 0, 1)  # one part: how long it has run is all that is known
        now += 42
        line = "Translating, for 0:42\n"
        assert line in wait_for(line, capsys)


@pytest.mark.parametrize(("seconds", "quiet"), [("0", False), ("0.01", True)])
def test_no_lines(
    seconds: str,
    quiet: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(VARIABLE, seconds)
    with progress("Starting", quiet) as show:
        show("Writing", 0, 1)
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stated", ["soon", "-1", "nan", "1e300"])
def test_what_is_no_number_of_seconds(stated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, stated)
    with pytest.raises(UsageError, match="not a number of seconds"), progress("x", quiet=False):
        pass


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (65, "1:05"), (7384, "2:03:04")]
)
def test_times(seconds: float, text: str) -> None:
    assert format_clock(seconds) == text
