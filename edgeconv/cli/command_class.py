"""The class of every command: grouped options, examples, and defaults from a file.

click lists all options in one column. A class of our own is 40 lines; rich-click and cloup would
each be another dependency, and rich-click imports rich for every ``--help``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import click

from edgeconv.cli import user_defaults
from edgeconv.cli.option_groups import GROUPS, REST, heading_of
from edgeconv.near_names import did_you_mean
from edgeconv.report.output import apart_from_results

_WHOLE = 1000  # characters: more than the first sentence of any command


class Command(click.Command):
    """A command with examples.

    Args:
        examples: Command lines, each beginning with ``edgeconv``; a test parses them.
        grouped: Whether the options stand below the headings of ``option_groups``.
    """

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), grouped: bool = False, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self.grouped = grouped
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, below their headings if they are many."""
        groups: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (*GROUPS, REST)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups[heading_of(str(parameter.name)) if self.grouped else REST].append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def get_short_help_str(self, limit: int = _WHOLE) -> str:
        """The first sentence, for lists of commands and for Tab; click cuts it to ``limit``."""
        return super().get_short_help_str(_WHOLE)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, one per line, which are never wrapped."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; a wrong value from the file of defaults names that file."""
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            named = user_defaults.with_source(error, ctx)
            if named is error:
                raise
            raise named from error

    def invoke(self, ctx: click.Context) -> Any:
        """Say which options the file of defaults has set, and run the command."""
        user_defaults.announce(ctx)
        with apart_from_results():
            return super().invoke(ctx)


class CommandGroup(click.Group):
    """A group whose commands are :class:`Command`; a wrong name is answered with near ones."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            self._refuse(ctx, args[0])
        return super().resolve_command(ctx, args)

    def _refuse(self, ctx: click.Context, name: str) -> NoReturn:
        if name.startswith("-"):
            raise click.NoSuchOption(name, ctx=ctx)
        meant = did_you_mean(name, self.list_commands(ctx))
        raise click.UsageError(f"no such command {name!r}{f'; {meant}' if meant else ''}", ctx)
