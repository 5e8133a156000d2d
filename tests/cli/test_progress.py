"""Progress: a bar on a terminal, and lines in a file."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.terminal import shown_on

pytestmark = pytest.mark.slow

ARGUMENTS = ["export", "resnet8", "--calibration", "random", "--calibration-size", "8"]


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_on_a_terminal(tmp_path: Path, quiet: bool) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeconv", *ARGUMENTS, *(["--quiet"] if quiet else [])],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    shown = shown_on(ours)
    assert process.wait() == 0, shown.decode()
    assert (b"Capturing" in shown) is not quiet
    # While PyTorch traces, standard error is redirected; the bar goes on nevertheless.
    assert bool(re.search(rb"Tracing the network [^\r\n]* \d+/\d+ 0:0", plain(shown))) is not quiet
    # PyTorch's exporter reports nothing while it translates: its line has a clock and no count.
    assert bool(re.search(rb"Translating into ONNX [^\r\n/]*0:00:0\d", plain(shown))) is not quiet
    assert bool(re.search(rb"Calibrating [^\r\n]* \d/8 0:00:0\d", plain(shown))) is not quiet


def plain(shown: bytes) -> bytes:
    """What a terminal shows without its colors."""
    return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown)


def test_lines_in_a_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeconv", *ARGUMENTS],
        cwd=tmp_path,
        env={**os.environ, "EDGECONV_PROGRESS_SECONDS": "0.01"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"progress: after 0:\d\d: Tracing the network, \d+ of \d+", done.stderr)
    lines = [line for line in done.stderr.splitlines() if "Translating into ONNX" in line]
    assert lines
    assert all(re.match(r"progress: after \d+:\d\d: Translating into ONNX", line) for line in lines)
    assert "progress" not in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
