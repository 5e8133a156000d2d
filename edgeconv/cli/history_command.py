"""``edgeconv history``: what was measured before."""

from __future__ import annotations

import csv
import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.cli import kept
from edgeconv.cli.command_class import Command
from edgeconv.cli.next_command import suggest
from edgeconv.cli.outputs import refuse_unwritable
from edgeconv.cli.settings import takes
from edgeconv.cli.shared_options import wide_option
from edgeconv.cli.store_option import store_option
from edgeconv.cli.values import NearChoice, given

if TYPE_CHECKING:
    from edgeconv.store.history import Entry, History

MAX_RUN = 2**63 - 1  # databases have no larger numbers
FORMATS = ("csv", "parquet")


@dataclass(frozen=True)
class HistorySettings:
    """Which runs to list, or which one to print, and how."""

    pattern: str
    limit: int
    everything: bool
    run: int | None
    export: tuple[str, Path] | None
    wide: bool
    as_csv: bool
    as_json: bool
    store: str | None


@click.command(
    "history",
    cls=Command,
    examples=(
        "edgeconv history",
        "edgeconv history 'mobilenet*' --limit 50 --csv",
    ),
)
@click.argument("pattern", default="*")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Runs to list at most."
)
@click.option("--all", "everything", is_flag=True, help="List all runs.")
@click.option(
    "--run", type=click.IntRange(1, MAX_RUN), help="Print the whole result of this run as JSON."
)
@click.option(
    "--export",
    metavar="csv|parquet FILE",
    nargs=2,
    type=(NearChoice(FORMATS), click.Path(path_type=Path)),
    help="Write all runs to a file, with units in the names of the columns; with --limit the "
    "latest ones.",
)
@wide_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@store_option
@takes(HistorySettings)
def command(settings: HistorySettings) -> None:
    """List the latest measurements of files that match PATTERN (shell style, such as '*int8*')."""
    from edgeconv.report.history import notes, print_history
    from edgeconv.report.output import echo_json, echo_lines
    from edgeconv.report.tables import print_notes
    from edgeconv.store.history import History

    history = History.at(settings.store)
    if settings.run is not None:
        echo_json(history.get(settings.run))
        return
    if settings.export is not None:
        _export(history, settings, *settings.export)
        return
    limit = None if settings.everything else settings.limit
    entries = history.entries(pattern=settings.pattern, limit=limit)
    if settings.as_json:
        from edgeconv.report.documents import HistoryDocument

        echo_json(HistoryDocument(entries=tuple(entries)))
    elif settings.as_csv:
        echo_lines(_csv(entries).removesuffix("\n"))
    elif entries:
        print_history(entries, wide=settings.wide)
        print_notes(notes(entries))
        if settings.store is None:  # that may have a password
            _suggest(entries)
    else:
        print_notes([_why_none(settings.pattern, history)])


def _suggest(entries: list[Entry]) -> None:
    """Say how to go on: to what changed since the same file was last measured, or to a page."""
    newest = entries[0].run
    measured = {_subject(entry) for entry in entries if entry.run == newest}
    before = (e.run for e in entries if e.run != newest and _subject(e) in measured)
    earlier = next(before, None)
    if earlier is None:
        suggest("report", str(newest))
    else:
        suggest("compare", str(earlier), str(newest))


def _subject(entry: Entry) -> tuple[object, ...]:
    """What two runs must have in common to be compared."""
    kind = (entry.median_ns is None, entry.instructions is None, entry.figure)
    return (entry.name, entry.device, entry.runtime, entry.threads, *kind)


def _export(history: History, settings: HistorySettings, form: str, path: Path) -> None:
    from edgeconv.report.output import echo_line
    from edgeconv.store.export import TableFormat, write_table

    refuse_unwritable(path)
    limit = settings.limit if "limit" in given() and not settings.everything else None
    entries = history.entries(pattern=settings.pattern, limit=limit)
    write_table(entries, TableFormat(form), path)
    kept.made(path)
    files = "1 measured file" if len(entries) == 1 else f"{len(entries)} measured files"
    echo_line(f"wrote {path}: {files}")


def _why_none(pattern: str, history: History) -> str:
    if not history.database.exists():
        return f"nothing was measured yet: there is no {history.database}"
    return "nothing was measured yet" + ("" if pattern == "*" else f" that matches {pattern}")


def _csv(entries: list[Entry]) -> str:
    from edgeconv.store.export import in_csv
    from edgeconv.store.history import Entry

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(Entry))
    for entry in entries:
        cells = dataclasses.astuple(entry)
        writer.writerow(in_csv(cell) if isinstance(cell, str) else cell for cell in cells)
    return text.getvalue()
