"""The workflows in docs/: their YAML, and that every command line in them is one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from edgeconv.cli import cli

yaml = pytest.importorskip("yaml", reason="pyyaml is not installed (extra dev)")
FOLDER = Path(__file__).parents[2] / "docs" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))


def read(path: Path) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    return document


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def commands(path: Path) -> list[list[str]]:
    """The edgeconv command lines, with the variables that the job sets."""
    workflow = read(path)
    (job,) = workflow["jobs"].values()
    found = []
    for step in steps(workflow):
        for line in step.get("run", "").replace("\\\n", " ").splitlines():
            if line.strip().startswith("edgeconv "):
                text = re.sub(r"\$(\w+)", lambda match: job["env"][match[1]], line)
                found.append(shlex.split(text)[1:])
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_yaml_is_a_workflow(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert True in workflow  # `on`, which YAML 1.1 reads as a truth value
    assert all(("run" in step) != ("uses" in step) for step in steps(workflow))
    assert {command[0] for command in commands(path)} >= {"export", "gate"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_command_line_parses(path: Path) -> None:
    for command in commands(path):
        with click.Context(cli, info_name="edgeconv") as context:
            node: click.Command = cli
            arguments = list(command)
            while isinstance(node, click.Group):
                name, found, arguments = node.resolve_command(context, arguments)
                assert found is not None, name
                node = found
            node.make_context("edgeconv", arguments, parent=context)


def test_both_are_there() -> None:
    assert [path.name for path in WORKFLOWS] == ["gate-board.yml", "gate-instructions.yml"]
