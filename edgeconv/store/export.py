"""The history as a table for other programs, with the units in the names of its columns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import UsageError
from edgeconv.printable import printable
from edgeconv.store.history import Entry
from edgeconv.whole_file import whole_file

if TYPE_CHECKING:
    import pyarrow


class TableFormat(str, Enum):
    """What a table is written as."""

    CSV = "csv"
    PARQUET = "parquet"


_FORMULAS = ("=", "+", "-", "@")
# The name of a column, its type in Parquet, and the field of an Entry. The names and their order
# are a promise (docs/benchmarking.md): new columns go to the end.
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("run", "int64", "run"),
    ("started_utc", "timestamp", "started"),
    ("device", "string", "device"),
    ("git_commit", "string", "revision"),
    ("work_tree_changed", "bool", "changed"),
    ("file_name", "string", "name"),
    ("file_sha256", "string", "sha256"),
    ("file_size_bytes", "int64", "bytes"),
    ("runtime", "string", "runtime"),
    ("threads", "int64", "threads"),
    ("latency_median_ns", "float64", "median_ns"),
    ("latency_median_low_ns", "float64", "low_ns"),
    ("latency_median_high_ns", "float64", "high_ns"),
    ("instructions_per_inference", "int64", "instructions"),
    ("accuracy_figure", "string", "figure"),
    ("accuracy_value", "float64", "value"),
    ("accuracy_unit", "string", "unit"),
)


def write_table(entries: Sequence[Entry], form: TableFormat, path: Path) -> None:
    """Write a table whole or not at all.

    Raises:
        UsageError: The file cannot be written, or pyarrow is not installed.
    """
    write: dict[TableFormat, Callable[[Sequence[Entry], Path], None]] = {
        TableFormat.CSV: _write_csv,
        TableFormat.PARQUET: _write_parquet,
    }
    with whole_file(path) as part:
        write[form](entries, part)


def in_csv(text: str) -> str:
    """``text`` as a cell that a spreadsheet takes for text: one like ``=cmd()`` gets a ``'``."""
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _write_csv(entries: Sequence[Entry], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(name for name, _, _ in COLUMNS)
        for entry in entries:
            writer.writerow(_cell(getattr(entry, field)) for _, _, field in COLUMNS)


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return in_csv(value) if isinstance(value, str) else value


def _write_parquet(entries: Sequence[Entry], path: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(
            "Parquet files need pyarrow, which is not installed",
            hint="pip install 'edgeconv[parquet]', or write csv",
        ) from error
    fields = [pyarrow.field(name, _type(pyarrow, kind)) for name, kind, _ in COLUMNS]
    columns = [[_value(entry, kind, field) for entry in entries] for _, kind, field in COLUMNS]
    table = pyarrow.table(columns, schema=pyarrow.schema(fields))
    parquet.write_table(table, path)


def _type(arrow: pyarrow, kind: str) -> pyarrow.DataType:
    if kind == "timestamp":
        return arrow.timestamp("us", tz="UTC")
    return arrow.type_for_alias(kind)


def _value(entry: Entry, kind: str, field: str) -> object:
    value = getattr(entry, field)
    if kind != "timestamp":
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise UsageError(
            f"run {entry.run} of the history began at {value}, which is no time", hint="write csv"
        ) from error
