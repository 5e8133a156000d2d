"""``edgeconv history``: what was measured before."""

from __future__ import annotations

import csv
import dataclasses
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from edgeconv.cli.settings import takes
from edgeconv.cli.shared_options import wide_option
from edgeconv.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

    from edgeconv.bench.history import Entry

SCHEMA_VERSION = 1  # of --json


@dataclass(frozen=True)
class HistorySettings:
    """Which runs to list, or which one to print, and how."""

    pattern: str
    limit: int
    everything: bool
    run: int | None
    wide: bool
    as_csv: bool
    as_json: bool


@click.command("history")
@click.argument("pattern", default="*")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Runs to list at most."
)
@click.option("--all", "everything", is_flag=True, help="List all runs.")
@click.option("--run", type=click.IntRange(1), help="Print the whole result of this run as JSON.")
@wide_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@takes(HistorySettings)
def command(settings: HistorySettings) -> None:
    """List the latest measurements of files that match PATTERN (shell style, such as '*int8*')."""
    from edgeconv.bench.history import History, default_path
    from edgeconv.report.history import notes, print_history
    from edgeconv.report.output import echo_json, echo_lines
    from edgeconv.report.tables import print_notes

    history = History(default_path())
    if settings.run is not None:
        echo_json(history.get(settings.run))
        return
    limit = -1 if settings.everything else settings.limit
    entries = history.entries(pattern=settings.pattern, limit=limit)
    if settings.as_json:
        listed = [dataclasses.asdict(entry) for entry in entries]
        echo_json({"schema_version": SCHEMA_VERSION, "entries": listed})
    elif settings.as_csv:
        echo_lines(_csv(entries).removesuffix("\n"))
    elif entries:
        print_history(entries, wide=settings.wide)
        print_notes(notes(entries))
    else:
        print_notes([_why_none(settings.pattern, history.path)])


def _why_none(pattern: str, path: Path) -> str:
    if not path.exists():
        return f"nothing was measured yet: there is no {path}"
    return "nothing was measured yet" + ("" if pattern == "*" else f" that matches {pattern}")


def _csv(entries: list[Entry]) -> str:
    from edgeconv.bench.history import Entry

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(Entry))
    for entry in entries:
        cells = dataclasses.astuple(entry)
        writer.writerow(printable(cell) if isinstance(cell, str) else cell for cell in cells)
    return text.getvalue()
