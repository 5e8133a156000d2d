"""The tables of the history, the same in every database."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

SCHEMA_VERSION = 4
TABLES = MetaData()

# `result` is the JSON of the whole result, compressed by zlib; `started` is ISO 8601 in UTC.
RUNS = Table(
    "runs",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("started", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("revision", Text),
    Column("changed", Integer, nullable=False),
    Column("result", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
Index("runs_by_revision", RUNS.c.revision)

# The files of a run, in the order of `place`. Either the three durations are set, or the
# instructions, or the figure with its value and unit.
MODELS = Table(
    "models",
    TABLES,
    Column("run", Integer, ForeignKey("runs.id"), nullable=False),
    Column("place", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("sha256", Text),
    Column("bytes", BigInteger, nullable=False),
    Column("runtime", Text, nullable=False),
    Column("threads", Integer),
    Column("median_ns", Double),
    Column("low_ns", Double),
    Column("high_ns", Double),
    Column("instructions", BigInteger),
    Column("log_variance", Double),
    Column("figure", Text),
    Column("value", Double),
    Column("unit", Text),
)
Index("models_by_run", MODELS.c.run)
