"""Every result that was measured, in one SQLite file."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from edgeconv.bench.compare.kinds import KINDS, kind_named, kind_of
from edgeconv.bench.history_schema import bring_up_to_date
from edgeconv.bench.sessions import NOT_KNOWN, Between, SessionFigure, between_sessions
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.limits import UNPACKED_BYTES
from edgeconv.user_folders import state_folder
from edgeconv.versioned import Versioned, first_problem

# A name that is not text is damage, which no pattern may hide.
_NAMED = "(typeof(name) <> 'text' OR name GLOB ?)"
LATEST = 500  # measured files of a device that show how much its sessions differ


@dataclass(frozen=True)
class Revision:
    """A git commit; ``changed``: the work tree had changes that were not committed."""

    commit: str
    changed: bool


@dataclass(frozen=True)
class Entry:
    """One measured file of one run.

    It has either a latency in nanoseconds, or the instructions of one inference on an emulated
    board. ``started`` is ISO 8601 in UTC.
    """

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
    median_ns: float | None = None
    low_ns: float | None = None
    high_ns: float | None = None
    instructions: int | None = None


def default_path() -> Path:
    """``EDGECONV_HISTORY``, or ``edgeconv/history.db`` in the user's state folder (XDG)."""
    if chosen := os.environ.get("EDGECONV_HISTORY"):
        return Path(chosen)
    return state_folder() / "history.db"


def current_revision(folder: Path) -> Revision | None:
    """The commit of the git work tree that ``folder`` is in, if it is in one."""
    commit = commit_of("HEAD", folder)
    if commit is None:
        return None
    return Revision(commit, changed=bool(_git(folder, "status", "--porcelain")))


def commit_of(reference: str, folder: Path) -> str | None:
    """The commit that a git reference means in the work tree that ``folder`` is in."""
    # The suffix keeps a reference from being read as an option, and asks for a commit.
    return _git(folder, "rev-parse", "--verify", "--end-of-options", f"{reference}^{{commit}}")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", folder, *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


_ENTRY = TypeAdapter(Entry)


def _variance(value: object) -> float:
    """What a file's session knows of its own noise; older runs do not say."""
    return value if isinstance(value, float) and value >= 0 else 0.0


class History:
    """The history in one file, made when the first result is added.

    Raises (every method):
        UsageError: The file is not a history, cannot be used, or is from another schema version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, result: Versioned, revision: Revision | None) -> int:
        """Keep a result and return its number."""
        kind = kind_of(result)
        if kind.history_run is None:
            raise TypeError(f"the history does not keep {kind.plural}")
        run = kind.history_run(result)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error.strerror) from error
        with self._connection() as connection:
            cursor = connection.execute(
                "INSERT INTO runs (kind, started, device, revision, changed, result) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    kind.name,
                    run.started.isoformat(),
                    run.device,
                    revision.commit if revision else None,
                    revision is not None and revision.changed,
                    zlib.compress(result.model_dump_json().encode()),
                ),
            )
            number = cursor.lastrowid
            assert number is not None
            connection.executemany(
                "INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(number, *astuple(file)) for file in run.files],
            )
        return number

    def entries(self, *, pattern: str = "*", limit: int = -1) -> list[Entry]:
        """List the measured files whose name matches a shell pattern, newest first.

        ``limit`` counts the latest runs that have such a file.
        """
        if not self.path.exists():
            return []
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT r.id, started, device, revision, changed, name, sha256, bytes, runtime, "
                "threads, median_ns, low_ns, high_ns, instructions "
                "FROM runs r JOIN models m ON m.run = r.id "
                f"WHERE {_NAMED} AND r.id IN (SELECT DISTINCT run FROM models "
                f"WHERE {_NAMED} ORDER BY run DESC LIMIT ?) ORDER BY r.id DESC, m.rowid",
                (pattern, pattern, limit),
            ).fetchall()
        return [self._entry(row) for row in rows]

    def _entry(self, row: Sequence[object]) -> Entry:
        # SQLite keeps a value of any type in any column.
        values = {field.name: value for field, value in zip(fields(Entry), row, strict=True)}
        values["changed"] = values["changed"] == 1
        try:
            entry = _ENTRY.validate_python(values)
        except ValidationError as error:
            raise self._unusable(first_problem(error)) from error
        timed = None not in (entry.median_ns, entry.low_ns, entry.high_ns)
        if not timed and entry.instructions is None:
            raise self._unusable(f"run {entry.run} has a file without a figure")
        return entry

    def between_sessions(self, device: str) -> Between:
        """How much the latest sessions of a device differ in what they say of the same files."""
        if not self.path.exists():
            return NOT_KNOWN
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT r.id, sha256, runtime, threads, median_ns, log_variance "
                "FROM runs r JOIN models m ON m.run = r.id "
                "WHERE device = ? AND typeof(median_ns) = 'real' AND median_ns > 0 "
                "ORDER BY r.id DESC LIMIT ?",
                (device, LATEST),
            ).fetchall()
        files: dict[tuple[str, str, int], list[SessionFigure]] = defaultdict(list)
        for run, sha256, runtime, threads, median, variance in rows:
            files[sha256, runtime, threads].append(
                SessionFigure(run, math.log(median), _variance(variance))
            )
        return between_sessions(list(files.values()))

    def get(self, run: int) -> Versioned:
        """The whole result of a run.

        Raises:
            UsageError: there is no such run.
        """
        row = self._one("SELECT kind, result FROM runs WHERE id = ?", (run,))
        if row is None:
            raise UsageError(f"the history has no run {run}", hint="`edgeconv history` lists them")
        return self._decode(*row)

    def of_revision(self, commit: str) -> tuple[Versioned, ...]:
        """Find the latest result of each kind that was measured at a commit.

        A result from a clean work tree is preferred.
        """
        rows = (
            self._one(
                "SELECT kind, result FROM runs WHERE revision = ? AND kind = ? "
                "ORDER BY changed, id DESC LIMIT 1",
                (commit, kind.name),
            )
            for kind in KINDS
        )
        return tuple(self._decode(*row) for row in rows if row is not None)

    def _one(self, query: str, values: tuple[object, ...]) -> tuple[str, bytes] | None:
        if not self.path.exists():
            return None
        with self._connection() as connection:
            row: tuple[str, bytes] | None = connection.execute(query, values).fetchone()
        return row

    def _decode(self, kind: str, blob: object) -> Versioned:
        try:
            if not isinstance(blob, bytes):
                raise zlib.error("it is not even compressed")
            unpacking = zlib.decompressobj()
            text = unpacking.decompress(blob, UNPACKED_BYTES.value).decode()
            if unpacking.unconsumed_tail:
                UNPACKED_BYTES.check(UNPACKED_BYTES.value + 1, f"a result in {self.path} has")
            if not unpacking.eof:
                raise self._unusable("a result is damaged")
        except (zlib.error, UnicodeDecodeError) as error:
            raise self._unusable("a result is damaged") from error
        try:
            result: Versioned = kind_named(kind).result.parse(text, self.path)
        except MeasurementError as error:
            raise UsageError(error.message, hint=error.hint) from error
        return result

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A transaction; other processes' writes are waited for."""
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:
                connection.execute("BEGIN IMMEDIATE")
                bring_up_to_date(connection, self.path)
                yield connection
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, why: object) -> UsageError:
        return UsageError(
            f"{self.path} cannot be used as the history: {why}",
            hint="set EDGECONV_HISTORY to another file",
        )
