"""The help of every command: examples that parse, and options below headings."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgeconv.cli import cli
from edgeconv.cli.option_groups import GROUPS, REST, heading_of
from support.commands import ALL


@pytest.mark.parametrize("name", ALL)
def test_every_example_is_one_that_the_parser_takes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ALL[name].examples
    for line in ALL[name].examples:
        program, *arguments = shlex.split(line)
        assert program == "edgeconv"
        assert len(line) <= 78  # with its indent in 80 columns
        with cli.make_context("edgeconv", [*arguments]) as context:
            group: click.Group = cli
            reached = None
            while True:
                rest = [*context._protected_args, *context.args]
                _, command, arguments = group.resolve_command(context, rest)
                assert command is not None
                context = command.make_context(command.name, arguments, parent=context)
                reached = command
                if not isinstance(command, click.Group):
                    break
                group = command
        assert reached is ALL[name], line


@pytest.mark.parametrize("name", ALL)
def test_the_examples_are_in_the_help(name: str) -> None:
    shown = CliRunner().invoke(cli, [*name.split(), "--help"]).output
    for line in ALL[name].examples:
        assert f"\n  {line}\n" in shown


def test_long_commands_have_no_option_without_a_heading() -> None:
    grouped = {name: command for name, command in ALL.items() if command.grouped}
    assert set(grouped) >= {"export", "bench", "blame", "evaluate", "gate", "sweep run"}
    for name, command in grouped.items():
        options = [str(p.name) for p in command.params if isinstance(p, click.Option)]
        assert [o for o in options if heading_of(o) == REST] == [], name
        shown = CliRunner().invoke(cli, [*name.split(), "--help"]).output
        for heading in {heading_of(option) for option in options}:
            assert f"\n{heading}:\n" in shown


def test_a_heading_lists_nothing_twice_and_nothing_that_is_not_there() -> None:
    listed = [name for names in GROUPS.values() for name in names]
    assert len(listed) == len(set(listed))
    known = {p.name for command in ALL.values() if command.grouped for p in command.params}
    assert set(listed) <= known


@pytest.mark.parametrize("name", ["cache", "devices", "sweep"])
def test_a_group_lists_its_commands_with_a_whole_sentence(name: str) -> None:
    assert "..." not in CliRunner().invoke(cli, [name, "--help"]).output.partition("Commands:")[2]


@pytest.mark.parametrize(
    ("arguments", "near"), [(["exprot"], "'export'"), (["cache", "lss"], "'ls'")]
)
def test_a_wrong_command_is_answered_with_a_near_one(arguments: list[str], near: str) -> None:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2
    assert f"did you mean {near}?" in done.output
