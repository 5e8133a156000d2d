"""The history of one user: an SQLite file, made when the first result is added."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Engine, create_engine, func, or_
from sqlalchemy.pool import NullPool

from edgeconv.store.database import Database
from edgeconv.store.schema import MODELS, SCHEMA_VERSION, TABLES

WAIT_SECONDS = 30.0  # for the writes of other processes
# The columns of the table of models, as older versions had them. Version 1 had latencies only.
_FIRST = ["run", "name", "sha256", "bytes", "runtime", "threads", "median_ns", "low_ns", "high_ns"]
_COLUMNS = {
    1: _FIRST,
    2: [*_FIRST, "instructions"],
    3: [*_FIRST, "instructions", "log_variance"],
}


@dataclass(frozen=True)
class SQLiteFile(Database):
    """A history in one file."""

    OTHER = "set EDGECONV_HISTORY to another file"

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()

    def prepare(self) -> None:
        """Make the folder."""
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def engine(self) -> Engine:
        """Connect without the transactions of Python's module, which do not hold ALTER TABLE."""

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)

        return create_engine("sqlite://", creator=connect, poolclass=NullPool)

    def start(self, connection: Connection) -> None:
        """Wait for the writes of other processes at once, not in the middle."""
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def version(self, connection: Connection) -> int:
        """The number that the file's header has for this."""
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())

    def bring_up_to_date(self, connection: Connection) -> None:
        """Make the tables, or write those of an older version anew.

        Raises:
            UsageError: The file is a database of another program.
        """
        version = self.version(connection)
        if version == 0:
            if connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
                raise self.unusable("another program keeps its tables there")
            TABLES.create_all(connection, checkfirst=False)
        else:
            _rewrite(connection, version)
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def matches(self, text: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
        """By GLOB itself. A value that is no text is damage, which no pattern may hide."""
        return or_(func.typeof(text) != "text", text.op("GLOB", is_comparison=True)(pattern))

    def hint(self, error: Exception) -> str:
        """Whatever it is, another file may do."""
        if "locked" in self.reason(error):  # or there are no locks, which SQLite does not say
            return f"wait for the command that uses it, or {self.OTHER} on a local disk"
        return self.OTHER


def _rewrite(connection: Connection, version: int) -> None:
    if version == 1:
        connection.exec_driver_sql(
            "ALTER TABLE runs ADD COLUMN kind TEXT NOT NULL DEFAULT 'latency'"
        )
    connection.exec_driver_sql("DROP INDEX models_by_run")
    connection.exec_driver_sql("ALTER TABLE models RENAME TO older_models")
    MODELS.create(connection, checkfirst=False)
    columns = ", ".join(_COLUMNS[version])
    connection.exec_driver_sql(
        f"INSERT INTO models (place, {columns}) SELECT rowid, {columns} FROM older_models"
    )
    connection.exec_driver_sql("DROP TABLE older_models")
