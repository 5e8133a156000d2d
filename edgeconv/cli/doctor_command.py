"""``edgeconv doctor``: what works in this installation, and what to do about the rest."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Iterator

import click

from edgeconv.cli.command_class import Command
from edgeconv.cli.next_command import suggest
from edgeconv.doctor import Finding, State, examine
from edgeconv.printable import printable
from edgeconv.report.output import echo_json, echo_line

SCHEMA_VERSION = 1
FIRST_EXPORT = "mobilenet_v1_025"  # of the first tutorial
_WIDTH = 80
_NAME_WIDTH = 16
_COLORS = {State.ERROR: "red", State.WARNING: "yellow"}


@click.command(
    "doctor",
    cls=Command,
    examples=(
        "edgeconv doctor",
        "edgeconv doctor --json",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Look at this installation, and say what to do about what does not work.

    Every runtime runs a small model, and every other package is imported, each in a process of
    its own. The exit code is 0 if all that edgeconv needs works, and 1 otherwise; what only some
    commands need is optional.
    """
    findings = list(examine() if as_json else _printed(examine()))
    broken = [each for each in findings if each.state is State.ERROR]
    if as_json:
        listed = [dataclasses.asdict(each) for each in findings]
        echo_json({"schema_version": SCHEMA_VERSION, "works": not broken, "findings": listed})
    else:
        echo_line("")
        names = ", ".join(each.name for each in broken)
        echo_line(f"to mend: {names}" if broken else "all that edgeconv needs works", bold=True)
        if not broken:
            suggest("export", FIRST_EXPORT)
    ctx.exit(1 if broken else 0)


def _printed(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Print each finding as it comes, below the heading of its section."""
    section = None
    for finding in findings:
        if finding.section is not section:
            if section is not None:
                echo_line("")
            section = finding.section
            echo_line(section.value, bold=True)
        _print(finding)
        yield finding


def _print(finding: Finding) -> None:
    first = f"  {finding.state.value:<8}  {finding.name:<{_NAME_WIDTH}}  "
    texts = [finding.found, *([f"hint: {finding.hint}"] if finding.hint else [])]
    for index, text in enumerate(texts):
        for line in textwrap.wrap(
            printable(text),
            _WIDTH,
            initial_indent=first if index == 0 else " " * len(first),
            subsequent_indent=" " * len(first),
            break_long_words=False,
            break_on_hyphens=False,
        ):
            echo_line(line, color=_COLORS.get(finding.state) if index == 0 else None)
