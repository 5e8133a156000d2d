"""``edgeconv history --export``."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import pytest

from edgeconv.store.export import COLUMNS
from edgeconv.store.history import History
from edgeconv.store.revision import Revision
from support.command_line import CommandLine
from support.results import made_counts, made_model, made_result

CALM = [1_000_000, 1_001_000, 999_000]
NAMES = [name for name, _, _ in COLUMNS]


@pytest.fixture
def history(history_path: Path) -> History:
    history = History.at(str(history_path))
    result = made_result(made_model('odd,"name"\n', CALM), made_model("b", CALM))
    history.add(result, Revision("c" * 40, changed=True))
    history.add(made_counts({"a": 12_300_000_000}), None)
    return history


def test_the_names_are_a_promise() -> None:
    """Others read these columns: they keep their names and their order."""
    assert [
        *("run", "started_utc", "device", "git_commit", "work_tree_changed", "file_name"),
        *("file_sha256", "file_size_bytes", "runtime", "threads", "latency_median_ns"),
        *("latency_median_low_ns", "latency_median_high_ns", "instructions_per_inference"),
        *("accuracy_figure", "accuracy_value", "accuracy_unit"),
    ] == NAMES
    docs = (Path(__file__).parents[2] / "docs" / "benchmarking.md").read_text("utf-8")
    assert all(f"`{name}`" in docs for name in NAMES)


def test_csv(history: History, tmp_path: Path, edgeconv: CommandLine) -> None:
    path = tmp_path / "h.csv"
    assert (
        edgeconv("history", "--export", "csv", path).stdout == f"wrote {path}: 3 measured files\n"
    )
    with path.open(encoding="utf-8", newline="") as file:
        count, odd, _ = csv.DictReader(file)
    assert list(count) == NAMES
    assert (count["instructions_per_inference"], count["latency_median_ns"]) == ("12300000000", "")
    assert (odd["file_name"], odd["work_tree_changed"]) == ('odd,"name"\\n', "true")
    assert float(odd["latency_median_ns"]) == history.entries()[1].median_ns
    edgeconv("history", "--limit", 1, "--export", "csv", path)
    assert len(path.read_text("utf-8").splitlines()) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["h.csv"]


def test_parquet(history: History, tmp_path: Path, edgeconv: CommandLine) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    path = tmp_path / "h.parquet"
    assert edgeconv("history", "b", "--export", "parquet", path).returncode == 0
    table = parquet.read_table(path)
    assert table.column_names == NAMES
    (row,) = table.to_pylist()
    (entry,) = history.entries(pattern="b")
    assert row["started_utc"] == datetime.fromisoformat(entry.started)
    assert (row["latency_median_ns"], row["instructions_per_inference"]) == (entry.median_ns, None)
    empty = edgeconv("history", "nothing*", "--export", "parquet", path)
    assert empty.returncode == 0
    assert parquet.read_table(path).schema == table.schema


@pytest.mark.usefixtures("history")
def test_what_cannot_be_written(tmp_path: Path, edgeconv: CommandLine) -> None:
    for arguments in (("csv", tmp_path), ("csv", tmp_path / "no" / "x"), ("xls", tmp_path / "x")):
        assert edgeconv("history", "--export", *arguments).returncode == 2
