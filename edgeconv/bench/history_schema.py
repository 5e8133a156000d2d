"""The tables of the history, and how those of an older file are brought up to date."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgeconv.errors import UsageError

SCHEMA_VERSION = 3
# Either the three durations are set, or the instructions.
_MODELS = """
CREATE TABLE models (
    run INTEGER NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    runtime TEXT NOT NULL,
    threads INTEGER NOT NULL,
    median_ns REAL,
    low_ns REAL,
    high_ns REAL,
    instructions INTEGER,
    log_variance REAL
);
CREATE INDEX models_by_run ON models (run);
"""
_SCHEMA = f"""
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    started TEXT NOT NULL,
    device TEXT NOT NULL,
    revision TEXT,
    changed INTEGER NOT NULL,
    result BLOB NOT NULL
);
CREATE INDEX runs_by_revision ON runs (revision);
{_MODELS}
"""
# Version 1 only had latencies, and a file had to have one.
_FROM_1 = f"""
ALTER TABLE runs ADD COLUMN kind TEXT NOT NULL DEFAULT 'latency';
DROP INDEX models_by_run;
ALTER TABLE models RENAME TO models_1;
{_MODELS}
INSERT INTO models SELECT run, name, sha256, bytes, runtime, threads, median_ns, low_ns, high_ns,
    NULL, NULL FROM models_1 ORDER BY rowid;
DROP TABLE models_1;
"""
# Version 2 did not know how well a session knows its own latencies.
_FROM_2 = "ALTER TABLE models ADD COLUMN log_variance REAL"


@dataclass(frozen=True)
class HistoryRow:
    """One file of a run: the columns of the table of models, in their order, without the run.

    Durations are nanoseconds; ``instructions`` are those of one inference on an emulated board.
    ``log_variance`` is that of the log of the session's median, as its processes show it.
    """

    name: str
    sha256: str
    bytes: int
    runtime: str
    threads: int
    median_ns: float | None = None
    low_ns: float | None = None
    high_ns: float | None = None
    instructions: int | None = None
    log_variance: float | None = None


@dataclass(frozen=True)
class HistoryRun:
    """What the history has of a measurement beside the whole of it."""

    started: datetime
    device: str
    files: tuple[HistoryRow, ...]


def bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in a new file, or bring those of an older edgeconv up to date.

    Args:
        connection: It is in a transaction, so the change happens whole or not at all.
        path: The file, for the message.

    Raises:
        UsageError: The file is from a newer edgeconv.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == SCHEMA_VERSION:
        return
    if version not in (0, 1, 2):
        raise UsageError(
            f"{path} has schema version {version}, this edgeconv reads up to {SCHEMA_VERSION}",
            hint="update edgeconv, or set EDGECONV_HISTORY to another file",
        )
    # Not executescript(), which would commit first.
    for statement in (_SCHEMA, _FROM_1, _FROM_2)[version].split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
