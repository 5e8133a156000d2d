"""Defaults of options from ``[tool.edgeconv]``, through the command line itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeconv.cli import cli
from edgeconv.cli.user_defaults import find
from edgeconv.errors import UsageError

COST = ("cost", "--conv", "8,8,3", "--wide")
MODELS = "[tool.edgeconv.cost]\nprecision = 'int8'\n"


def cost(folder: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "edgeconv", *COST],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def invoke(folder: Path, *arguments: str, **more: str) -> Result:
    """Run the command line in this process, where PyTorch may be imported already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(cli, arguments, env=more, standalone_mode=False)


def write(folder: Path, text: str) -> Path:
    path = folder / "pyproject.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_the_file_sets_a_default_and_one_line_says_so(project: Path) -> None:
    path = write(project, "[tool.edgeconv.cost]\ndilation = 3\n")
    below = project / "a" / "b"
    below.mkdir(parents=True)
    code, stated, said = cost(below)
    assert code == 0, said
    assert said == f"note: from {path}: --dilation 3\n"
    assert stated == invoke(below, *COST, "--dilation", "3").stdout
    plain = invoke(below, *COST, "--dilation", "2")
    assert (plain.exit_code, plain.stderr) == (0, "")  # the command line wins
    assert plain.stdout != stated


def test_it_can_be_switched_off(project: Path) -> None:
    write(project, "[tool.edgeconv.cost]\ndilation = 3\n")
    plain = invoke(project, *COST, "--dilation", "2").stdout
    for done in (
        invoke(project, "--no-config", *COST),
        invoke(project, *COST, EDGECONV_NO_CONFIG="1"),
    ):
        assert (done.exit_code, done.stdout, done.stderr) == (0, plain, "")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[tool.edgeconv.cots]\n", "unknown key 'cots'", "did you mean 'cost'"),
        ("[tool.edgeconv.cost]\ndilatoin = 3\n", "unknown key 'dilatoin'", "'dilation'"),
        ("[tool.edgeconv.cost]\nwide = 1\n", "tool.edgeconv.cost.wide is true or false", ""),
        ("[tool.edgeconv.cost]\ndilation = true\n", "is a text or a number, not True", ""),
        ("[tool.edgeconv.cost]\ndilation = 'x'\n", "'x' is not a whole number", "see `edgeconv"),
        ("[tool.edgeconv.cost]\njson = true\n", "cannot be set in a file", "command line"),
        ("[tool.edgeconv]\ncost = 3\n", "tool.edgeconv.cost is not a table", ""),
        ("tool = {edgeconv = 3}\n", "tool.edgeconv is not a table", ""),
        ("[tool.edgeconv", "is not TOML", "mend the file, or pass --no-config"),
    ],
)
def test_what_is_wrong_names_the_file(project: Path, text: str, message: str, hint: str) -> None:
    path = write(project, text)
    code, out, said = cost(project)
    assert (code, out) == (2, "")
    assert message in said
    assert str(path) in said
    assert hint in said


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("export", "calibration = 'evil.py:make'"),
        ("evaluate", "task = 'evil.py:metric'"),
        ("evaluate", "task = 'detection:evil.py:decode'"),
        ("evaluate", "task = 'evil.pyc:metric'"),
        ("evaluate", "device = 'local:./evil'"),
        ("evaluate", "device = 'ssh:elsewhere'"),
        ("bench", "device = ['local', 'ssh://elsewhere']"),
        ("bench", "store = 'postgresql://elsewhere/results'"),
        ("bench", "store = '../../history.db'"),
        ("bench", "out = '../result.json'"),
        ("bench", "out = '/elsewhere/result.json'"),
        ("bench", "html = 'link/page.html'"),
        ("sweep.run", "scheduler = 'elsewhere:8786'"),
        ("sweep.run", "cache = '/elsewhere'"),
    ],
)
def test_a_file_runs_no_code_reaches_no_machine_and_stays_in_its_folder(
    project: Path, command: str, line: str
) -> None:
    """A repository that someone else wrote may hold the file."""
    (project / "evil.py").write_text("open('ran', 'w')\n")
    (project / "link").symlink_to(project.parent)
    write(project, f"[tool.edgeconv.{command}]\n{line}\n")
    error = invoke(project, command.partition(".")[0], "x").exception
    assert isinstance(error, UsageError)
    assert f"tool.edgeconv.{command}." in error.message
    assert "on the command line" in error.hint
    assert not (project / "ran").exists()


def test_the_search_ends_at_the_root_of_the_repository(tmp_path: Path) -> None:
    write(tmp_path, MODELS)
    inner = tmp_path / "repository" / "below"
    inner.mkdir(parents=True)
    (tmp_path / "repository" / ".git").touch()  # a file in a worktree of git
    assert find(inner) is None
    # Without a repository nothing above is looked at.
    outside = tmp_path / "outside"
    outside.mkdir()
    assert find(outside) is None
    write(outside, MODELS)
    assert find(outside) is not None


def test_a_file_without_the_table_is_passed_over(project: Path) -> None:
    outer = write(project, MODELS)
    inner = project / "package"
    inner.mkdir()
    write(inner, "[tool.other]\nx = 1\n")
    found = find(inner)
    assert found is not None
    assert found.path == outer


def test_lists_flags_subcommands_and_paths_are_as_on_the_command_line(project: Path) -> None:
    write(
        project,
        "[tool.edgeconv.export]\nprecision = ['float32', 'int8']\ncalibration = 'photos'\n"
        "no-verify = true\ninput = ['ids:1,16:int64']\nout = 'build/out'\n"
        "[tool.edgeconv.bench]\ndevice = 'emulated:pi4'\n"
        "[tool.edgeconv.cache.prune]\nto = '2GB'\n",
    )
    (project / "photos").mkdir()
    (project / "below").mkdir()
    code = (
        "import os\nfrom edgeconv.cli import cli, user_defaults\n"
        "for name in ('export', 'bench', 'cache'):\n"
        "    with cli.make_context('edgeconv', [name]) as context:\n"
        "        user_defaults.apply(context, cli, name)\n"
        "        command = cli.get_command(context, name)\n"
        "        rest = ['prune'] if name == 'cache' else ['x']\n"
        "        with command.make_context(name, rest, parent=context) as inner:\n"
        "            if name == 'cache':\n"
        "                command = command.commands['prune']\n"
        "                inner = command.make_context('prune', [], parent=inner)\n"
        "            print({key: inner.params.get(key) for key in "
        "('precisions', 'calibration', 'verify', 'inputs', 'out', 'devices', 'most')})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project / "below",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    export, bench, prune = done.stdout.splitlines()
    assert "float32" in export
    assert "'int8'" in export
    assert repr(str(project / "photos")) in export
    assert "'verify': False" in export
    assert "ids:1,16:int64" in export
    assert str(project / "build" / "out") in export
    assert "'devices': ('emulated:pi4',)" in bench
    assert "'most': 2000000000" in prune
