"""A clone beside an edgeconv that pip has copied: the clone's folder hides it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_an_example_says_how_to_install_the_clone() -> None:
    """It ended with ``No module named 'edgeconv.export'``."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "examples.widths"],  # -S: without what is installed in place
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: this clone is not what Python imports as edgeconv",
        "hint: run `make setup`, or `pip install -e .` in your environment",
    ]
