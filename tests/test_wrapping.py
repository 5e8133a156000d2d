"""Sentences are broken between words on a terminal, and whole elsewhere."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import struct
import sys
import termios
from pathlib import Path

import pytest

from edgeconv.errors import Notice
from edgeconv.log_lines import WarningLines
from edgeconv.report.output import echo_line, echo_sentence
from edgeconv.wrapping import for_terminal
from tests.support.terminal import shown_on

LONG = "the calibration of " + "/a/very-long/name-of-a-file" * 4 + " says nothing " + "at all " * 20


def test_a_terminal(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    with os.fdopen(theirs, "w") as stream:
        lines = for_terminal(LONG, stream).splitlines()
        record = logging.makeLogRecord({"msg": Notice("word " * 30, "do " * 40), "levelno": 30})
        warning = WarningLines(stream).format(record).splitlines()
    shown_on(ours)
    assert " ".join(line.strip() for line in lines) == LONG.strip()
    assert [line for line in lines if len(line) > 60] == ["  " + "/a/very-long/name-of-a-file" * 4]
    assert max(map(len, warning)) <= 60
    assert sum(line.startswith("hint: ") for line in warning) == 1


@pytest.mark.parametrize(("no_color", "colored"), [("1", False), ("", True)])
def test_colors_of_a_terminal(
    no_color: str, colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        echo_sentence("error: it failed", err=True, color="red")
        echo_line("a heading", stream=stream, color="red")
        echo_sentence("hint: try again", err=True)
    shown = shown_on(ours)
    assert (b"\x1b[31merror: it failed\x1b[0m\r\n" in shown) is colored
    assert (b"\x1b" in shown) is colored
    assert shown.endswith(b"hint: try again\r\n")


def test_a_file(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        assert for_terminal(LONG, stream) == LONG
    assert for_terminal(LONG, io.StringIO()) == LONG
