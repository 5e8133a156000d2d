"""Every result that was measured, in one SQLite file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgeconv.bench.result import BenchResult, parse_result
from edgeconv.errors import MeasurementError, UsageError

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    started TEXT NOT NULL,
    device TEXT NOT NULL,
    revision TEXT,
    changed INTEGER NOT NULL,
    result BLOB NOT NULL
);
CREATE INDEX runs_by_revision ON runs (revision);
CREATE TABLE models (
    run INTEGER NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    runtime TEXT NOT NULL,
    threads INTEGER NOT NULL,
    median_ns REAL NOT NULL,
    low_ns REAL NOT NULL,
    high_ns REAL NOT NULL
);
CREATE INDEX models_by_run ON models (run);
"""


@dataclass(frozen=True)
class Revision:
    """A git commit; ``changed``: the work tree had changes beside it."""

    commit: str
    changed: bool


@dataclass(frozen=True)
class Entry:
    """One measured file of one run. Durations are nanoseconds, ``started`` is ISO 8601 in UTC."""

    run: int
    started: str
    device: str
    revision: str | None
    changed: bool
    name: str
    sha256: str
    bytes: int
    runtime: str
    threads: int
    median_ns: float
    low_ns: float
    high_ns: float


def default_path() -> Path:
    """``EDGECONV_HISTORY``, or ``edgeconv/history.db`` in the user's state folder (XDG)."""
    if chosen := os.environ.get("EDGECONV_HISTORY"):
        return Path(chosen)
    state = os.environ.get("XDG_STATE_HOME")
    folder = Path(state) if state else Path.home() / ".local" / "state"
    return folder / "edgeconv" / "history.db"


def current_revision(folder: Path) -> Revision | None:
    """The commit of the git work tree that ``folder`` is in, if it is in one."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    return Revision(commit, changed=bool(_git(folder, "status", "--porcelain")))


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", folder, *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class History:
    """The history in one file, made when the first result is added.

    Raises (every method):
        MeasurementError: the file is no history, or from another schema version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, result: BenchResult, revision: Revision | None) -> int:
        """Keep a result and return its number."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            cursor = connection.execute(
                "INSERT INTO runs (started, device, revision, changed, result) "
                "VALUES (?, ?, ?, ?, ?)",
                (
                    result.started.isoformat(),
                    result.device,
                    revision.commit if revision else None,
                    revision is not None and revision.changed,
                    zlib.compress(result.model_dump_json().encode()),
                ),
            )
            run = cursor.lastrowid
            assert run is not None
            connection.executemany(
                "INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        run,
                        model.file.name,
                        model.file.sha256,
                        model.file.bytes,
                        model.processes[0].runtime.value,
                        result.options.threads,
                        model.summary.median.value,
                        model.summary.median.low,
                        model.summary.median.high,
                    )
                    for model in result.models
                ],
            )
        return run

    def entries(self, *, pattern: str = "*", limit: int = -1) -> list[Entry]:
        """Measured files whose name matches a shell pattern, of the ``limit`` latest runs that
        have one; newest first."""
        if not self._path.exists():
            return []
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT r.id, started, device, revision, changed, name, sha256, bytes, runtime, "
                "threads, median_ns, low_ns, high_ns FROM runs r JOIN models m ON m.run = r.id "
                "WHERE name GLOB ? AND r.id IN (SELECT DISTINCT run FROM models "
                "WHERE name GLOB ? ORDER BY run DESC LIMIT ?) ORDER BY r.id DESC, m.rowid",
                (pattern, pattern, limit),
            ).fetchall()
        return [replace(Entry(*row), changed=bool(row[4])) for row in rows]

    def get(self, run: int) -> BenchResult:
        """The whole result of a run.

        Raises:
            UsageError: there is no such run.
        """
        row = self._one("SELECT result FROM runs WHERE id = ?", (run,))
        if row is None:
            raise UsageError(f"the history has no run {run}; `edgeconv history` lists them")
        return self._decode(row[0])

    def of_revision(self, commit: str) -> BenchResult | None:
        """The latest result measured at a commit, with a clean work tree if there is one."""
        row = self._one(
            "SELECT result FROM runs WHERE revision = ? ORDER BY changed, id DESC LIMIT 1",
            (commit,),
        )
        return None if row is None else self._decode(row[0])

    def _one(self, query: str, values: tuple[object, ...]) -> tuple[bytes] | None:
        if not self._path.exists():
            return None
        with self._connection() as connection:
            row: tuple[bytes] | None = connection.execute(query, values).fetchone()
        return row

    def _decode(self, blob: bytes) -> BenchResult:
        return parse_result(zlib.decompress(blob).decode(), self._path)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A transaction; other processes' writes are waited for."""
        try:
            with closing(sqlite3.connect(self._path, timeout=30)) as connection, connection:
                connection.execute("BEGIN IMMEDIATE")
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    for statement in SCHEMA.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                elif version != SCHEMA_VERSION:
                    raise MeasurementError(
                        f"{self._path} has schema version {version}, this edgeconv reads "
                        f"{SCHEMA_VERSION}; set EDGECONV_HISTORY to another file"
                    )
                yield connection
        except sqlite3.Error as error:
            raise MeasurementError(f"history {self._path}: {error}") from error


def resolve(reference: str, history: History, folder: Path) -> BenchResult:
    """The result that a user names: a file, a run's number in the history, or a git revision.

    Raises:
        UsageError: it is none of these, or nothing was measured at that revision.
    """
    path = Path(reference)
    if path.is_file():
        return BenchResult.load(path)
    if reference.isascii() and reference.isdigit() and len(reference) < 10:
        return history.get(int(reference))
    # The suffix keeps a reference from being read as an option, and asks for a commit.
    commit = _git(folder, "rev-parse", "--verify", "--end-of-options", f"{reference}^{{commit}}")
    if commit is None:
        raise UsageError(
            f"{reference} is no result file, no run of the history and no git revision"
        )
    result = history.of_revision(commit)
    if result is None:
        raise UsageError(
            f"nothing was measured at {reference} ({commit[:12]}); see `edgeconv history`"
        )
    return result
