"""Fixtures of the tests of measuring and of the history, which their conftest.py files import."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgeconv.cli import main
from support.command_line import CommandLine, Ran


@pytest.fixture(autouse=True)
def history_path(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the history is: no test touches the user's."""
    path = tmp_path_factory.mktemp("history") / "sub" / "history.db"
    monkeypatch.setenv("EDGECONV_HISTORY", str(path))
    return path


@pytest.fixture
def edgeconv(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> CommandLine:
    """Runs the command line as a user does, in this process: a new one costs half a second."""

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["edgeconv", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        code = stopped.value.code
        assert isinstance(code, int)
        return Ran(code, *capfd.readouterr())

    return run


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git work tree with one commit on ``trunk``, and the current folder."""
    path = tmp_path / "repository"
    path.mkdir()
    for arguments in (
        ["init", "-q", "-b", "trunk"],
        ["config", "user.name", "t"],
        ["config", "user.email", "t@example.org"],
        ["commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", "-C", path, *arguments], check=True)
    monkeypatch.chdir(path)
    return path
