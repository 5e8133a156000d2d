"""Where ``compare`` and ``gate`` say what they found: a pull request, a CI service, a program."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeconv.cli import kept
from edgeconv.cli.outputs import refuse_unwritable
from edgeconv.errors import UsageError
from edgeconv.printable import printable_lines

if TYPE_CHECKING:
    from edgeconv.report.junit import Case

Command = TypeVar("Command", bound=Callable[..., Any])

STANDARD_OUTPUT = Path("-")
# GitHub shows the Markdown in this file on the page of a run; a step adds to its end.
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


def verdict_outputs(command: Command) -> Command:
    """Give a command ``--markdown``, ``--junit`` and ``--json``."""
    options = (
        click.option(
            "--markdown",
            metavar="FILE|-",
            type=click.Path(path_type=Path),
            help="Write a Markdown table for a pull request here; - prints it. On GitHub it is "
            "also added to the summary of the step.",
        ),
        click.option(
            "--junit",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Write JUnit XML here, for the page of tests of a CI service.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class VerdictOutputs:
    """Where the verdicts go beside the table."""

    markdown: Path | None
    junit: Path | None
    as_json: bool

    @property
    def prints_markdown(self) -> bool:
        """Whether standard output is to have the Markdown."""
        return self.markdown == STANDARD_OUTPUT

    def refuse(self) -> None:
        """Refuse, before anything slow, what cannot be written.

        Raises:
            UsageError: A file cannot be written, or standard output is asked for twice.
        """
        if self.prints_markdown and self.as_json:
            raise UsageError(
                "--markdown - and --json both print", hint="name a file for the Markdown"
            )
        refuse_unwritable(None if self.prints_markdown else self.markdown)
        refuse_unwritable(self.junit)

    def write(self, title: str, markdown: str, cases: Sequence[Case]) -> None:
        """Write all but what is printed.

        Raises:
            UsageError: A file cannot be written.
        """
        from edgeconv.report.junit import junit
        from edgeconv.whole_file import write_whole

        text = printable_lines(markdown) + "\n"
        if self.markdown is not None and not self.prints_markdown:
            write_whole(self.markdown, text)
            kept.made(self.markdown)
        if self.junit is not None:
            write_whole(self.junit, junit(title, cases))
            kept.made(self.junit)
        if summary := os.environ.get(STEP_SUMMARY):
            _add_to_summary(Path(summary), text)


def _add_to_summary(path: Path, text: str) -> None:
    """Add to what earlier commands of the step wrote; GitHub asks for it, so it never fails."""
    from edgeconv.report.tables import print_notes

    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}")
    except OSError as error:
        print_notes([f"{STEP_SUMMARY} cannot be written: {error.strerror}"])
