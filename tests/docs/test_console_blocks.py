"""The commands on pages whose output is remade are commands, and their runs are written back."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from edgeconv.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = [
    page for page in sorted((ROOT / "docs" / "tutorials").glob("*.md")) if page.name != "README.md"
]


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


remake = _script("remake")
STEPS = [
    pytest.param(step, id=f"{page.stem}-{index}")
    for page in PAGES
    for index, step in enumerate(remake.page_steps(page.read_text("utf-8")))
]


@pytest.mark.parametrize("step", STEPS)
def test_every_command_parses_and_has_its_output(step: remake.Step) -> None:  # type: ignore[name-defined]
    # What follows || is for a command that fails, and shows its exit code.
    words = shlex.split(step.command.replace("\\\n", " ").split("||")[0])
    assert words[0] in {"edgeconv", "python", "ls", "cp", "mkdir"}
    silent = words[0] in {"cp", "mkdir"} or "--quiet" in words or "-c" in words
    if words[0] == "edgeconv":
        options, arguments = _parsed(words[1:])
        assert arguments == []
        assert options
    assert bool(step.output.strip()) or silent


def _parsed(words: list[str]) -> tuple[dict[str, object], list[str]]:
    """The options and what is left over of a command of edgeconv, or of one in a group."""
    node: click.Command | None = cli
    context = click.Context(cli)
    while isinstance(node, click.Group):
        if node.name == "sweep" and words[0] not in node.commands:
            words = ["run", *words]  # as the group itself does
        _, node, words = node.resolve_command(context, words)
    assert node is not None
    options, arguments, _ = node.make_parser(click.Context(node)).parse_args(words)
    return options, arguments


def _unrecorded(page: Path) -> list[str]:
    """The command lines of edgeconv in plain blocks of a page, which are not run."""
    blocks = re.findall(r"^```\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("edgeconv ")]


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_every_command_that_is_only_shown_parses(page: Path) -> None:
    commands = _unrecorded(page)
    assert commands or page.name != "README.md"
    for command in commands:
        options, arguments = _parsed(shlex.split(command)[1:])
        assert arguments == []
        assert options


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


def test_the_front_of_the_readme_is_that_of_the_tutorial(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plots)")
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))
    front = _script("front")
    shown = front.points((ROOT / "docs" / "tutorials" / "sweep.md").read_text("utf-8"))
    assert len(shown) == 6
    assert {point.bytes > 0 for point in shown} == {True}
    drawn = (ROOT / "docs" / "images" / "front.svg").read_text("utf-8")
    # Not the whole picture: other releases of matplotlib write other paths.
    assert f"<desc>{escape(front.description(shown))}</desc>" in drawn, "run `make readme`"


def test_output_is_written_back(tmp_path: Path) -> None:
    page = '```python title="two.py"\nprint(1 + 1)\n```\n\n```console\n$ python two.py\n3\n```\n'
    assert remake.remake(page, tmp_path) == page.replace("\n3\n", "\n2\n")


def test_a_command_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="exit code 3"):
        remake.remake("```console\n$ exit 3\n```\n", tmp_path)


NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


def test_the_readme_of_the_tutorials_names_every_notebook() -> None:
    contents = (ROOT / "docs" / "tutorials" / "README.md").read_text("utf-8")
    assert NOTEBOOKS
    assert all(f"({path.name})" in contents for path in NOTEBOOKS)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_cells_of_a_notebook_run(path: Path, tmp_path: Path) -> None:
    notebook = json.loads(path.read_text("utf-8"))
    shown = [[output["output_type"] for output in cell.get("outputs", ())] for cell in _cells(path)]
    _script("notebook").run_cells(notebook, tmp_path)
    again = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [[output["output_type"] for output in cell["outputs"]] for cell in again] == shown
    assert (tmp_path / "out" / "manifest.json").is_file()


def _cells(path: Path) -> list[dict[str, Any]]:
    notebook = json.loads(path.read_text("utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_a_cell_prints_and_shows_its_last_value(tmp_path: Path) -> None:
    cell: dict[str, Any] = {"cell_type": "code", "source": ["x = 20\n", "print('a')\n", "x + 1"]}
    _script("notebook").run_cells({"cells": [cell]}, tmp_path)
    printed, shown = cell["outputs"]
    assert printed["text"] == ["a\n"]
    assert shown["data"]["text/plain"] == ["21"]
