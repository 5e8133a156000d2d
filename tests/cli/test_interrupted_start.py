"""Ctrl-C while the command line is being imported ends as it does later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgeconv import __main__ as entry

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = None  # type: ignore[assignment]

ROOT = Path(__file__).parents[2]


def test_no_traceback_is_shown(tmp_path: Path) -> None:
    """It takes a tenth of a second to import, in which Python showed a traceback of its own."""
    (tmp_path / "click.py").write_text(
        f"import os, signal\nos.kill(os.getpid(), {int(signal.SIGINT)})\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "edgeconv", "--help"],
        env={**os.environ, "PYTHONPATH": os.fspath(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


@pytest.mark.skipif(tomllib is None, reason="Python 3.10 reads no TOML")
def test_the_console_script_is_the_same() -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert stated["project"]["scripts"] == {"edgeconv": f"{entry.__name__}:main"}
