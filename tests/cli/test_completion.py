"""Completion in real shells: a person types the beginning of a name, Tab and Enter."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgeconv import models
from edgeconv.cli import completions
from edgeconv.export.tasks import TASKS
from support.commands import ALL
from support.terminal import shown_on

# The command of a shell, and the first line of a session that registers the completion.
SHELLS = {
    "bash": (["bash", "--norc", "-i"], "source completion"),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source completion"),
}
# What is typed before Tab, and what the program is called with then.
TYPED = {
    "doc": ["doctor"],
    "export wavene": ["export", "wavenet_kws"],
    "export x --precision int16": ["export", "x", "--precision", "int16x8"],
    "bench x --device attic-p": ["bench", "x", "--device", "attic-pool"],
    "bench x --device emulated:zero2w-": ["bench", "x", "--device", "emulated:zero2w-32"],
    "gate x --max-regr": ["gate", "x", "--max-regression"],
}
DEVICES = '[devices]\nkitchen = "ssh://pi@10.0.0.7"\n[pools]\nattic-pool = ["kitchen"]\n'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program `edgeconv` that completes, and otherwise writes its arguments."""
    program = tmp_path / "bin" / "edgeconv"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'[ -n "$_EDGECONV_COMPLETE" ] && exec {sys.executable} -m edgeconv "$@"\n'
        f"printf '%s\\t' \"$@\" >> {tmp_path}/called\necho >> {tmp_path}/called\n"
    )
    program.chmod(0o755)
    config = tmp_path / "config" / "edgeconv"
    config.mkdir(parents=True)
    (config / "devices.toml").write_text(DEVICES)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config.parent))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_names(shell: str, place: Path) -> None:
    write_script(shell, place)
    command, register = SHELLS[shell]
    typed = [register, *(f"edgeconv {each}\t" for each in TYPED), "exit"]
    shown = type_into(command, "".join(f"{line}\r" for line in typed))
    called = (place / "called").read_text().splitlines()
    assert [line.rstrip("\t").split("\t") for line in called] == list(TYPED.values()), shown


@pytest.mark.slow
def test_fish_completes_names(place: Path) -> None:
    """fish drops what is typed before it shows a prompt, but says itself what Tab would offer."""
    write_script("fish", place)
    asked = "".join(f"; complete --do-complete 'edgeconv {each}'; echo ==" for each in TYPED)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source completion{asked}"],
        capture_output=True,
        text=True,
        check=True,
    )
    offered = [each.partition("\t")[0].strip() for each in done.stdout.split("==\n")[:-1]]
    assert offered == [words[-1] for words in TYPED.values()], done.stderr


@pytest.mark.slow
def test_fish_shows_whole_descriptions(place: Path) -> None:
    """What follows a comma was lost, and what follows 45 characters, too."""
    write_script("fish", place)
    asked = "source completion; complete --do-complete 'edgeconv devices '"
    command = ["fish", "--no-config", "-c", asked]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    described = dict(line.split("\t") for line in shown.splitlines())
    assert described == {
        name.removeprefix("devices "): command.get_short_help_str()
        for name, command in ALL.items()
        if name.startswith("devices ")
    }
    assert any("," in each for each in described.values())


def write_script(shell: str, folder: Path) -> None:
    """Write the script that registers the completion, as docs/command-line.md has it."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    environment = {**os.environ, "_EDGECONV_COMPLETE": f"{shell}_source"}
    done = subprocess.run(["edgeconv"], env=environment, capture_output=True, check=True)
    (folder / "completion").write_bytes(done.stdout)


def type_into(command: list[str], text: str) -> str:
    """What a program shows on a terminal on which a person types."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ):
        os.close(theirs)
        os.write(ours, text.encode())
        shown = shown_on(ours)
    return shown.decode("utf-8", "replace")


def test_the_names_that_are_offered_are_those_that_there_are() -> None:
    assert completions.zoo_names() == models.list_models()
    assert set(completions.TASKS) == set(TASKS)


def test_files_are_completed_where_they_are_meant() -> None:
    """Without it, a shell that completes edgeconv's names would stop to complete the user's."""
    for name, command in ALL.items():
        for parameter in command.params:
            words = set(re.findall(r"FILE|PATH|PLAN", str(parameter.metavar)))
            if words and parameter.nargs == 1:
                offered = parameter.shell_complete(click.Context(command), "no-such-name")
                kinds = [each.type for each in offered]
                assert kinds in (["file"], ["dir"]), f"{name} {parameter.opts}"
