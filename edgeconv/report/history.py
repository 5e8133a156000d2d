"""The table of what was measured before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.bench.compare.accuracy import format_value
from edgeconv.report.stacked import print_fitted
from edgeconv.report.tables import Column
from edgeconv.units import format_count, format_duration

if TYPE_CHECKING:
    from edgeconv.store.history import Entry


def _columns(entries: Sequence[Entry]) -> tuple[Column, ...]:
    several = any(entry.threads not in (None, 1) for entry in entries)
    return (
        Column("File"),
        Column("Run", numeric=True),
        Column("When (UTC)"),
        Column("Device"),
        Column("Revision", spare=True),
        Column("Runtime", spare=True),
        # Without it, the rows of a sweep over threads would look like one file measured twice.
        Column("Threads", numeric=True, spare=not several),
        Column("Median [95 % interval], count or accuracy", numeric=True),
    )


def print_history(entries: Sequence[Entry], *, wide: bool) -> None:
    """Print one row per measured file; ``wide`` shows every column."""
    rows = [
        (
            entry.name,
            str(entry.run),
            entry.started[:16].replace("T", " "),
            entry.device,
            (entry.revision or "-")[:12] + ("+" if entry.changed else ""),
            entry.runtime,
            "-" if entry.threads is None else str(entry.threads),
            _figure(entry),
        )
        for entry in entries
    ]
    print_fitted(_columns(entries), rows, wide=wide)


def notes(entries: Sequence[Entry]) -> list[str]:
    """What the reader of the table must know."""
    changed = any(entry.changed for entry in entries)
    return ["+ marks a work tree with changes beside the revision"] if changed else []


def _figure(entry: Entry) -> str:
    if entry.instructions is not None:
        return f"{format_count(entry.instructions)} instr."
    if entry.figure is not None and entry.value is not None:
        return f"{entry.figure} {format_value(entry.value, entry.unit or '')}"
    assert entry.median_ns is not None
    assert entry.low_ns is not None
    assert entry.high_ns is not None
    return format_duration(
        entry.median_ns / 1e9, interval=(entry.low_ns / 1e9, entry.high_ns / 1e9)
    )
