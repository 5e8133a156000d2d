"""The commands on pages whose output is remade are commands, and their runs are written back."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from edgeconv.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = [
    page for page in sorted((ROOT / "docs" / "tutorials").glob("*.md")) if page.name != "README.md"
]


def _remake() -> ModuleType:
    spec = importlib.util.spec_from_file_location("remake", ROOT / "docs" / "site" / "remake.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["remake"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


remake = _remake()
STEPS = [
    pytest.param(step, id=f"{page.stem}-{index}")
    for page in PAGES
    for index, step in enumerate(remake.page_steps(page.read_text("utf-8")))
]


@pytest.mark.parametrize("step", STEPS)
def test_every_command_parses_and_has_its_output(step: remake.Step) -> None:  # type: ignore[name-defined]
    words = shlex.split(step.command.replace("\\\n", " "))
    assert words[0] in {"edgeconv", "python", "ls", "cp"}
    if words[0] == "edgeconv":
        command = cli.get_command(click.Context(cli), words[1])
        assert command is not None
        options, arguments, _ = command.make_parser(click.Context(command)).parse_args(words[2:])
        assert arguments == []
        assert options
    assert bool(step.output.strip()) == (words[0] != "cp")


def test_every_tutorial_has_commands_and_a_place() -> None:
    contents = (ROOT / "docs" / "tutorials" / "README.md").read_text("utf-8")
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in PAGES:
        assert remake.page_steps(page.read_text("utf-8")), page
        assert f"({page.name})" in contents
        assert f"tutorials/{page.name}" in navigation


def test_the_picture_of_the_readme_is_current(tmp_path: Path) -> None:
    out = tmp_path / "terminal.svg"
    script = ROOT / "docs" / "site" / "recording.py"
    subprocess.run([sys.executable, str(script), "--out", str(out)], check=True, timeout=60)
    drawn = (ROOT / "docs" / "images" / "terminal.svg").read_text("utf-8")
    assert out.read_text("utf-8") == drawn, "run `make readme`"
    assert "font-face" not in drawn


def test_output_is_written_back(tmp_path: Path) -> None:
    page = '```python title="two.py"\nprint(1 + 1)\n```\n\n```console\n$ python two.py\n3\n```\n'
    assert remake.remake(page, tmp_path) == page.replace("\n3\n", "\n2\n")


def test_a_command_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="exit code 3"):
        remake.remake("```console\n$ exit 3\n```\n", tmp_path)
