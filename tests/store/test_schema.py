"""A history of version 1 becomes one of today, whole or not at all."""

from __future__ import annotations

import sqlite3
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeconv.bench import BenchResult
from edgeconv.errors import UsageError
from edgeconv.store.history import History
from edgeconv.store.schema import SCHEMA_VERSION
from edgeconv.store.sqlite import SQLiteFile
from support.results import made_counts, made_model, made_result

# As version 1 made them.
VERSION_1 = """
CREATE TABLE runs (id INTEGER PRIMARY KEY AUTOINCREMENT, started TEXT NOT NULL,
    device TEXT NOT NULL, revision TEXT, changed INTEGER NOT NULL, result BLOB NOT NULL);
CREATE INDEX runs_by_revision ON runs (revision);
CREATE TABLE models (run INTEGER NOT NULL REFERENCES runs (id), name TEXT NOT NULL,
    sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, runtime TEXT NOT NULL, threads INTEGER NOT NULL,
    median_ns REAL NOT NULL, low_ns REAL NOT NULL, high_ns REAL NOT NULL);
CREATE INDEX models_by_run ON models (run);
PRAGMA user_version = 1;
"""
CALM = [1_000_000, 1_001_000, 999_000]


@pytest.fixture
def result() -> BenchResult:
    return made_result(made_model("b", CALM), made_model("a", CALM))


@pytest.fixture
def old(history_path: Path, result: BenchResult) -> Path:
    """A file of version 1 with three runs, of which the second was deleted."""
    history_path.parent.mkdir()
    connection = sqlite3.connect(history_path)
    connection.executescript(VERSION_1)
    blob = zlib.compress(result.model_dump_json().encode())
    for run in (1, 2, 3):
        connection.execute(
            "INSERT INTO runs (started, device, revision, changed, result) VALUES (?, ?, ?, ?, ?)",
            (f"2026-01-0{run}T00:00:00+00:00", "local", "c" * 40, False, blob),
        )
        connection.executemany(
            "INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(run, name, "0" * 64, 1000, "litert", 2, 1e6, 9e5, 1.1e6) for name in "ba"],
        )
    connection.execute("DELETE FROM runs WHERE id = 2")
    connection.execute("DELETE FROM models WHERE run = 2")
    connection.commit()
    connection.close()
    return history_path


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return found


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    return found - {"sqlite_sequence"}


def test_all_that_was_kept_is_still_there(old: Path, result: BenchResult) -> None:
    history = History(SQLiteFile(old))
    entries = history.entries()
    assert [(entry.run, entry.name) for entry in entries] == [
        (3, "b"),
        (3, "a"),
        (1, "b"),
        (1, "a"),
    ]
    assert {(e.median_ns, e.low_ns, e.high_ns, e.threads) for e in entries} == {
        (1e6, 9e5, 1.1e6, 2)
    }
    assert {entry.instructions for entry in entries} == {None}
    assert history.get(1) == result
    assert history.of_revision("c" * 40) == (result,)
    assert version(old) == SCHEMA_VERSION


def test_version_2_gets_its_column(old: Path) -> None:
    History(SQLiteFile(old)).entries()
    connection = sqlite3.connect(old)
    connection.execute("ALTER TABLE models DROP COLUMN log_variance")
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    assert History(SQLiteFile(old)).between_sessions("local").sessions == 2
    assert version(old) == SCHEMA_VERSION


def test_it_goes_on_from_there(old: Path) -> None:
    history = History(SQLiteFile(old))
    assert history.add(made_counts({"a": 5}), None) == 4
    assert history.entries()[0].instructions == 5
    fresh = History(SQLiteFile(old.with_name("fresh.db")))
    fresh.add(made_counts({"a": 5}), None)
    assert tables(old) == tables(old.with_name("fresh.db"))


def test_several_at_once(old: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: len(History(SQLiteFile(old)).entries()), range(16)))
    assert counts == [4] * 16


def test_a_file_that_cannot_be_changed_stays_as_it_was(old: Path) -> None:
    connection = sqlite3.connect(old)
    connection.execute("ALTER TABLE models RENAME COLUMN high_ns TO top_ns")
    connection.commit()
    connection.close()
    before = tables(old)
    with pytest.raises(UsageError, match="high_ns"):
        History(SQLiteFile(old)).entries()
    assert (version(old), tables(old)) == (1, before)
