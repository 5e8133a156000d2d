"""Warnings of libraries stay out of sight, and those of the user's code are shown once."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from edgeconv.cli.python_warnings import show_only_the_users


@pytest.mark.parametrize("options", [[], ["default"]])
def test_only_those_of_the_users_code(
    options: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "warnoptions", options)
    mine = logging.getLogger("edgeconv")
    monkeypatch.setattr(mine, "propagate", True)
    monkeypatch.setattr(mine, "handlers", [])  # what a command of another test left there
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, "edgeconv"):
        warnings.simplefilter("always")
        before = warnings.showwarning
        show_only_the_users()
        assert (warnings.showwarning is before) == bool(options)  # as `python -W` states
        if options:
            return
        for _ in range(2):
            warnings.warn_explicit("odd\n loss", UserWarning, "/home/me/net.py", 3)
            warnings.warn_explicit("old", FutureWarning, torch.__file__, 5)
            warnings.warn_explicit("old", DeprecationWarning, subprocess.__file__, 5)
    assert [record.getMessage() for record in caplog.records] == ["/home/me/net.py:3: odd loss"]


NETWORK = """
import warnings
from torch import nn
def network():
    warnings.warn("mine")
    return nn.utils.weight_norm(nn.Linear(4, 4)).eval()  # which is deprecated
"""


@pytest.mark.slow
def test_the_command_shows_them_so(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    done = subprocess.run(
        [sys.executable, "-m", "edgeconv", "export", "net.py:network", "--input-size", "1,4", "-q"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: ")
    assert line.endswith("net.py:5: mine")
