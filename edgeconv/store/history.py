"""Every result that was measured, in one database."""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, Connection, Select, insert, select, type_coerce
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import NullType

from edgeconv.bench.compare.kinds import KINDS, kind_named, kind_of
from edgeconv.bench.history_run import HistoryRun
from edgeconv.bench.sessions import NOT_KNOWN, Between, SessionFigure, between_sessions
from edgeconv.errors import DataError, MeasurementError, UsageError
from edgeconv.limits import UNPACKED_BYTES
from edgeconv.store.database import Database
from edgeconv.store.location import default_path
from edgeconv.store.postgresql import EXAMPLE, PostgreSQL
from edgeconv.store.revision import Revision
from edgeconv.store.schema import MODELS, RUNS
from edgeconv.store.sqlite import SQLiteFile
from edgeconv.user_folders import stated_path
from edgeconv.versioned import Versioned, first_problem

LATEST = 500  # measured files of a device that show how much its sessions differ


@dataclass(frozen=True)
class Entry:
    """One measured file of one run.

    It has either a latency in nanoseconds, the instructions of one inference on an emulated board,
    or a figure of accuracy. ``started`` is ISO 8601 in UTC.
    """

    run: int
    started: str
    device: str
    revision: str | None
    changed: bool
    name: str
    sha256: str | None
    bytes: int
    runtime: str
    threads: int | None
    median_ns: float | None = None
    low_ns: float | None = None
    high_ns: float | None = None
    instructions: int | None = None
    figure: str | None = None
    value: float | None = None
    unit: str | None = None


_ENTRY = TypeAdapter(Entry)
_TABLE = {**dict(MODELS.c.items()), **dict(RUNS.c.items()), "run": RUNS.c.id}
_COLUMNS: list[ColumnElement[Any]] = [_TABLE[field.name] for field in fields(Entry)]
# As the driver has it: SQLite keeps a value of any type in any column.
_RESULT: ColumnElement[Any] = type_coerce(RUNS.c.result, NullType())


def _variance(value: object) -> float:
    """What a file's session knows of its own noise; older runs do not say."""
    return value if isinstance(value, float) and value >= 0 else 0.0


class History:
    """The history in one database, made when the first result is added.

    Raises (every method):
        UsageError: The database is not a history, cannot be used, or is from another schema
            version.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def at(cls, store: str | None) -> History:
        """Open a store by its name: the path of an SQLite file, an address, or None.

        Raises:
            UsageError: It is neither.
        """
        if store is None:
            return cls(SQLiteFile(default_path()))
        if store.startswith(("postgresql:", "postgres:", "postgresql+")):
            return cls(PostgreSQL.at(store))
        if "://" in store or not store:
            raise UsageError(
                "the store is neither a file nor an address of PostgreSQL",
                hint=f"name an SQLite file, or write {EXAMPLE}",
            )
        return cls(SQLiteFile(stated_path(store)))

    def check(self) -> None:
        """See that it can be used, before anything slow."""
        if self.database.exists():
            with self._connection():
                pass

    def add(
        self, result: Versioned, revision: Revision | None, run: HistoryRun | None = None
    ) -> int:
        """Keep a result and return its number.

        Args:
            result: The result.
            revision: Where it was measured.
            run: What the history has of it, where the result itself does not say that.
        """
        kind = kind_of(result)
        if run is None:
            if kind.history_run is None:
                raise TypeError(f"{kind.plural} do not say what the history has of them")
            run = kind.history_run(result)
        try:
            self.database.prepare()
        except OSError as error:
            raise self.database.unusable(error) from error
        with self._connection() as connection:
            added = connection.execute(
                insert(RUNS).values(
                    kind=kind.name,
                    started=run.started.isoformat(),
                    device=run.device,
                    revision=revision.commit if revision else None,
                    changed=int(revision is not None and revision.changed),
                    result=zlib.compress(result.model_dump_json().encode()),
                )
            )
            assert added.inserted_primary_key is not None
            number = int(added.inserted_primary_key[0])
            rows = [
                {"run": number, "place": place, **asdict(file)}
                for place, file in enumerate(run.files)
            ]
            connection.execute(insert(MODELS), rows)
        return number

    def entries(self, *, pattern: str = "*", limit: int | None = None) -> list[Entry]:
        """List the measured files whose name matches a shell pattern, newest first.

        ``limit`` counts the latest runs that have such a file.
        """
        named = self.database.matches(MODELS.c.name, pattern)
        latest = (
            select(MODELS.c.run).where(named).distinct().order_by(MODELS.c.run.desc()).limit(limit)
        )
        rows = self._all(
            select(*_COLUMNS)
            .join_from(RUNS, MODELS)
            .where(named, RUNS.c.id.in_(latest))
            .order_by(RUNS.c.id.desc(), MODELS.c.place)
        )
        return [self._entry(row) for row in rows]

    def _entry(self, row: Sequence[object]) -> Entry:
        # SQLite keeps a value of any type in any column.
        values = {field.name: value for field, value in zip(fields(Entry), row, strict=True)}
        values["changed"] = values["changed"] == 1
        try:
            entry = _ENTRY.validate_python(values)
        except ValidationError as error:
            raise self.database.unusable(first_problem(error)) from error
        timed = None not in (entry.median_ns, entry.low_ns, entry.high_ns)
        judged = None not in (entry.figure, entry.value, entry.unit)
        if not timed and not judged and entry.instructions is None:
            raise self.database.unusable(f"run {entry.run} has a file without a figure")
        return entry

    def between_sessions(self, device: str) -> Between:
        """How much the latest sessions of a device differ in what they say of the same files."""
        file = MODELS.c
        rows = self._all(
            select(
                RUNS.c.id,
                file.sha256,
                file.runtime,
                file.threads,
                file.median_ns,
                file.log_variance,
            )
            .join_from(RUNS, MODELS)
            .where(RUNS.c.device == device, file.median_ns > 0)
            .order_by(RUNS.c.id.desc())
            .limit(LATEST)
        )
        files: dict[tuple[str, str, int], list[SessionFigure]] = defaultdict(list)
        for run, sha256, runtime, threads, median, variance in rows:
            if isinstance(median, float):
                files[sha256, runtime, threads].append(
                    SessionFigure(run, math.log(median), _variance(variance))
                )
        return between_sessions(list(files.values())) if files else NOT_KNOWN

    def get(self, run: int) -> Versioned:
        """The whole result of a run.

        Raises:
            UsageError: there is no such run.
        """
        found = self._all(select(RUNS.c.kind, _RESULT).where(RUNS.c.id == run))
        if not found:
            raise UsageError(f"the history has no run {run}", hint="`edgeconv history` lists them")
        return self._decode(*found[0])

    def of_revision(self, commit: str) -> tuple[Versioned, ...]:
        """Find the latest result of each kind that was measured at a commit.

        A result from a clean work tree is preferred.
        """
        rows = (
            row
            for kind in KINDS
            for row in self._all(
                select(RUNS.c.kind, _RESULT)
                .where(RUNS.c.revision == commit, RUNS.c.kind == kind.name)
                .order_by(RUNS.c.changed, RUNS.c.id.desc())
                .limit(1)
            )
        )
        return tuple(self._decode(*row) for row in rows)

    def _all(self, query: Select[Any]) -> Sequence[Sequence[Any]]:
        if not self.database.exists():
            return []
        with self._connection() as connection:
            return connection.execute(query).fetchall()

    def _decode(self, kind: str, blob: object) -> Versioned:
        try:
            if not isinstance(blob, bytes):
                raise zlib.error("it is not even compressed")
            unpacking = zlib.decompressobj()
            text = unpacking.decompress(blob, UNPACKED_BYTES.value).decode()
            if unpacking.unconsumed_tail:
                UNPACKED_BYTES.check(UNPACKED_BYTES.value + 1, f"a result in {self.database} has")
            if not unpacking.eof:
                raise self.database.unusable("a result is damaged")
        except (zlib.error, UnicodeDecodeError) as error:
            raise self.database.unusable("a result is damaged") from error
        try:
            result: Versioned = kind_named(kind).result.parse(text, str(self.database))
        except (MeasurementError, DataError) as error:  # it is the history that is damaged
            raise UsageError(error.message, hint=error.hint) from error
        return result

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A transaction; other processes' writes are waited for."""
        engine = self.database.engine()
        try:
            with engine.connect() as connection:
                self.database.start(connection)
                self.database.check_version(connection)
                yield connection
                connection.commit()
        except UnicodeDecodeError as error:  # of a text, or of SQLite's message that cites one
            raise self.database.unusable("it is damaged: a text is not UTF-8") from error
        except SQLAlchemyError as error:
            raise self.database.unusable(error) from error
