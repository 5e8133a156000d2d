"""``edgeconv history``: what was measured before."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

    from edgeconv.bench.history import Entry

SCHEMA_VERSION = 1  # of --json


@click.command("history")
@click.argument("pattern", default="*")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Runs to list at most."
)
@click.option("--all", "everything", is_flag=True, help="List all runs.")
@click.option("--run", type=click.IntRange(1), help="Print the whole result of this run as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    pattern: str, limit: int, everything: bool, run: int | None, as_csv: bool, as_json: bool
) -> None:
    """List the latest measurements of files that match PATTERN (shell style, such as '*int8*')."""
    from edgeconv.bench.history import History, default_path
    from edgeconv.report.tables import error_console, printable

    history = History(default_path())
    if run is not None:
        click.echo(history.get(run).model_dump_json(indent=1))
        return
    entries = history.entries(pattern=pattern, limit=-1 if everything else limit)
    if as_json:
        listed = [dataclasses.asdict(entry) for entry in entries]
        click.echo(json.dumps({"schema_version": SCHEMA_VERSION, "entries": listed}, indent=1))
    elif as_csv:
        click.echo(_csv(entries), nl=False)
    elif entries:
        _print(entries)
    else:
        error_console().print(f"note: {printable(_why_none(pattern, history.path))}")


def _why_none(pattern: str, path: Path) -> str:
    if not path.exists():
        return f"nothing was measured yet: there is no {path}"
    return "nothing was measured yet" + ("" if pattern == "*" else f" that matches {pattern}")


def _csv(entries: list[Entry]) -> str:
    from edgeconv.bench.history import Entry

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(Entry))
    writer.writerows(dataclasses.astuple(entry) for entry in entries)
    return text.getvalue()


def _print(entries: list[Entry]) -> None:
    from edgeconv.report.tables import Column, console, error_console, table

    columns = (Column("Run", numeric=True), "When (UTC)", "Revision", "Device", "File", "Runtime")
    figure = "Median [95 % interval] or count"
    numbers = (Column("Threads", numeric=True), Column(figure, numeric=True))
    rows = [
        (
            str(entry.run),
            entry.started[:16].replace("T", " "),
            (entry.revision or "-")[:12] + ("+" if entry.changed else ""),
            entry.device,
            entry.name,
            entry.runtime,
            str(entry.threads),
            _figure(entry),
        )
        for entry in entries
    ]
    console().print(table((*columns, *numbers), rows))
    if any(entry.changed for entry in entries):
        error_console().print("note: + marks a work tree with changes beside the revision")


def _figure(entry: Entry) -> str:
    from edgeconv.report.units import format_count, format_duration

    if entry.instructions is not None:
        return f"{format_count(entry.instructions)} instr."
    assert entry.median_ns is not None
    assert entry.low_ns is not None
    assert entry.high_ns is not None
    return format_duration(
        entry.median_ns / 1e9, interval=(entry.low_ns / 1e9, entry.high_ns / 1e9)
    )
