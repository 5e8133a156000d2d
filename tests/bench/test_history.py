"""The history, and the commands that read it."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command_line import CommandLine
from made_results import made_model, made_result
from tiny_models import write_tflite

from edgeconv.bench import BenchResult
from edgeconv.bench.history import History, Revision, current_revision, default_path, resolve
from edgeconv.errors import MeasurementError, UsageError

CALM = [1_000_000, 1_001_000, 999_000]
SLOW = [2 * median for median in CALM]


@pytest.fixture
def history(history_path: Path) -> History:
    return History(history_path)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for arguments in (
        ["init", "-q"],
        ["config", "user.name", "t"],
        ["config", "user.email", "t@example.org"],
        ["commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True)
    return tmp_path


def test_empty(history: History, history_path: Path) -> None:
    assert history.entries() == []
    with pytest.raises(UsageError, match="no run 1"):
        history.get(1)
    assert not history_path.exists()


def test_keeps_whole_results(history: History) -> None:
    first = made_result(made_model("a", CALM), made_model("b", SLOW, size=7))
    assert history.add(first, Revision("c" * 40, changed=True)) == 1
    assert history.add(made_result(made_model("a", SLOW)), None) == 2
    assert history.get(1) == first
    newest, a, b = history.entries()
    assert (newest.run, newest.name, newest.revision, newest.changed) == (2, "a", None, False)
    assert (a.run, a.name, a.revision, a.changed) == (1, "a", "c" * 40, True)
    assert (b.bytes, b.runtime, b.threads) == (7, "litert", 1)
    assert b.low_ns <= b.median_ns <= b.high_ns


def test_pattern_and_limit_count_matching_runs(history: History) -> None:
    for name in ("a", "b", "a", "b", "a"):
        history.add(made_result(made_model(name, CALM)), None)
    assert [entry.run for entry in history.entries(pattern="b", limit=1)] == [4]
    assert [entry.run for entry in history.entries(pattern="[ab]", limit=2)] == [5, 4]


def test_many_writers(history: History) -> None:
    result = made_result(made_model("a", CALM))
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: history.add(result, None), range(24)))
    assert sorted(runs) == list(range(1, 25))


def test_revision_of_a_work_tree(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    revision = current_revision(repository)
    assert revision is not None
    assert len(revision.commit) == 40
    assert not revision.changed
    (repository / "new").touch()
    assert current_revision(repository) == Revision(revision.commit, changed=True)
    assert current_revision(tmp_path_factory.mktemp("bare")) is None


def test_clean_measurements_of_a_revision_come_first(history: History) -> None:
    clean, changed = made_result(made_model("a", CALM)), made_result(made_model("b", CALM))
    for result, is_changed in ((clean, False), (changed, True)):
        history.add(result, Revision("c" * 40, changed=is_changed))
    assert history.of_revision("c" * 40) == clean
    assert history.of_revision("d" * 40) is None


def test_references(history: History, repository: Path) -> None:
    result = made_result(made_model("a", CALM))
    path = repository / "r.json"
    result.save(path)
    revision = current_revision(repository)
    with pytest.raises(UsageError, match="nothing was measured at HEAD"):
        resolve("HEAD", history, repository)
    history.add(result, revision)
    for reference in (str(path), "1", "HEAD", "master~0" if _has_master(repository) else "HEAD^0"):
        assert resolve(reference, history, repository) == result
    for reference in ("no-such", "--all", "99999999999", "HEAD~5"):
        with pytest.raises(UsageError, match="no result file"):
            resolve(reference, history, repository)


def _has_master(repository: Path) -> bool:
    command = ["git", "-C", repository, "rev-parse", "--verify", "-q", "master"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_file_that_is_no_history(history_path: Path) -> None:
    history_path.parent.mkdir()
    history_path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(MeasurementError, match="history"):
        History(history_path).entries()


def test_another_schema_version(history_path: Path) -> None:
    history_path.parent.mkdir()
    with sqlite3.connect(history_path) as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(MeasurementError, match="schema version 9"):
        History(history_path).entries()


def test_default_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGECONV_HISTORY")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_path() == Path("/state/edgeconv/history.db")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_path() == Path("/home/somebody/.local/state/edgeconv/history.db")


def test_bench_is_remembered(tmp_path: Path, history: History, edgeconv: CommandLine) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    quick = ("--runs", 5, "--seconds", 0, "--warmup", 0, "--repetitions", 2)
    printed = edgeconv("bench", model, *quick, "--json")
    assert history.get(1) == BenchResult.model_validate_json(printed.stdout)
    edgeconv("bench", model, *quick, "--no-history")
    assert [entry.run for entry in history.entries()] == [1]
    table = edgeconv("history", "*.tflite")
    assert "m.tflite" in table.stdout
    assert "nothing was measured" in edgeconv("history", "*.onnx").stderr


def test_a_history_that_cannot_be_written_does_not_cost_the_result(
    tmp_path: Path, history_path: Path, edgeconv: CommandLine
) -> None:
    history_path.parent.write_text("a file where the folder should be")
    done = edgeconv(
        "bench", write_tflite(tmp_path / "m.tflite"), "--runs", 5, "--seconds", 0, "--warmup", 0
    )
    assert done.returncode == 0
    assert "m.tflite" in done.stdout
    assert "not kept in the history" in done.stderr


def test_history_as_csv_and_json(history: History, edgeconv: CommandLine) -> None:
    history.add(made_result(made_model('odd,"name"', CALM)), Revision("c" * 40, changed=False))
    (row,) = csv.DictReader(io.StringIO(edgeconv("history", "--csv").stdout))
    (entry,) = json.loads(edgeconv("history", "--json").stdout)
    assert row["name"] == entry["name"] == 'odd,"name"'
    assert float(row["median_ns"]) == entry["median_ns"]
    whole = edgeconv("history", "--run", 1).stdout
    assert BenchResult.model_validate_json(whole) == history.get(1)


def test_compare_command(history: History, edgeconv: CommandLine) -> None:
    history.add(made_result(made_model("m", CALM)), None)
    history.add(made_result(made_model("m", SLOW)), None)
    done = edgeconv("compare", 1, 2)
    assert "100.0% slower" in done.stdout
    report = json.loads(edgeconv("compare", 2, 1, "--json").stdout)
    assert report["files"][0]["verdict"] == "faster"
    assert report["files"][0]["change"]["value"] == pytest.approx(0.5)
    missing = edgeconv("compare", 1, 3)
    assert missing.returncode == 2
    assert "no run 3" in missing.stderr


def test_gate_command(history: History, edgeconv: CommandLine) -> None:
    history.add(made_result(made_model("m", CALM)), None)
    history.add(made_result(made_model("m", SLOW)), None)
    slower = edgeconv("gate", 2, "--baseline", 1)
    assert slower.returncode == 1
    assert slower.stdout.startswith("**Gate FAILED**: at most 3% slower or larger.")
    assert edgeconv("gate", 1, "--baseline", 2).returncode == 0
    assert edgeconv("gate", 2, "--baseline", 1, "--max-regression", "150%").returncode == 0
    for bad in ("x", "-1%", "nan", "inf"):
        assert edgeconv("gate", 2, "--baseline", 1, "--max-regression", bad).returncode == 2
