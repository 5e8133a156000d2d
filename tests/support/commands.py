"""Every command of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import click

from edgeconv.cli import COMMANDS, cli
from edgeconv.cli.command_class import Command


def commands() -> Iterator[tuple[str, Command]]:
    for name in sorted(COMMANDS):
        with click.Context(cli) as context:
            command = cli.get_command(context, name)
        below = command.commands.values() if isinstance(command, click.Group) else [command]
        for each in below:
            assert isinstance(each, Command), f"{name} is not of our class"
            yield f"{name} {each.name}" if each is not command else name, each


ALL = dict(commands())
