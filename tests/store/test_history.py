"""The history, and the commands that read it."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from edgeconv.bench import BenchResult
from edgeconv.bench.instructions import CountResult
from edgeconv.bench.result import ModelFile
from edgeconv.bench.sessions import NOT_KNOWN
from edgeconv.errors import UsageError
from edgeconv.store.history import History
from edgeconv.store.location import default_path
from edgeconv.store.revision import Revision, current_revision
from edgeconv.store.sqlite import SQLiteFile
from support.command_line import CommandLine
from support.results import made_counts, made_model, made_result
from support.tiny_models import write_tflite

CALM = [1_000_000, 1_001_000, 999_000]
SLOW = [2 * median for median in CALM]


@pytest.fixture
def history(history_path: Path) -> History:
    return History(SQLiteFile(history_path))


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
    assert history.of_revision("c" * 40) == (clean,)
    assert history.of_revision("d" * 40) == ()


def test_counts_are_kept_beside_latencies(history: History) -> None:
    counted, timed = made_counts({"a": 12_300_000}), made_result(made_model("a", CALM))
    revision = Revision("c" * 40, changed=False)
    for result in (counted, timed):
        history.add(result, revision)
    assert history.get(1) == counted
    assert history.get(2) == timed
    assert set(map(type, history.of_revision("c" * 40))) == {CountResult, BenchResult}
    newest, oldest = history.entries()
    assert (newest.instructions, newest.median_ns is None) == (None, False)
    assert (oldest.device, oldest.instructions, oldest.median_ns, oldest.threads) == (
        "emulated:pi4",
        12_300_000,
        None,
        1,
    )


def test_counts_in_the_list(history: History, edgeconv: CommandLine) -> None:
    result = made_counts({"a.tflite": 12_300_000})
    history.add(result, None)
    history.add(made_result(made_model("a.tflite", CALM)), None)
    table = edgeconv("history").stdout
    assert max(map(len, table.splitlines())) <= 80
    assert {"Revision", "Threads"} & set(table.split()) == set()
    assert {"Revision", "Threads"} <= set(edgeconv("history", "--wide").stdout.split())
    assert "12.3 M instr." in table
    assert "1.00 ms [0.99, 1.01]" in table  # two processes, within the prior of 1 %
    rows = list(csv.DictReader(io.StringIO(edgeconv("history", "--csv").stdout)))
    assert [row["instructions"] for row in rows] == ["", "12300000"]
    assert rows[1]["median_ns"] == ""
    entries = json.loads(edgeconv("history", "--json").stdout)["entries"]
    assert [entry["instructions"] for entry in entries] == [None, 12_300_000]
    assert CountResult.model_validate_json(edgeconv("history", "--run", 1).stdout) == result


def test_a_file_that_is_no_history(history_path: Path) -> None:
    history_path.parent.mkdir()
    history_path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(UsageError, match="history"):
        History(SQLiteFile(history_path)).entries()


def test_another_schema_version(history_path: Path) -> None:
    history_path.parent.mkdir()
    with sqlite3.connect(history_path) as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(UsageError, match=r"schema version 9.*\nhint: update edgeconv") as raised:
        History(SQLiteFile(history_path)).entries()
    assert "\n" not in raised.value.message


def test_a_schema_that_is_not_utf8(history: History, history_path: Path) -> None:
    """SQLite cites it in a message, which Python then cannot decode."""
    history.add(made_result(made_model("a.onnx", CALM)), None)
    sound = re.compile(rb"tableruns(runs.{1,3}CREATE) TABLE", re.DOTALL)
    content, count = sound.subn(b"tabler\xf7ns\\1 MABLE", history_path.read_bytes())
    assert count == 1
    history_path.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be used as the history"):
        history.entries()


def test_a_damaged_result(history: History, history_path: Path) -> None:
    history.add(made_result(made_model("a", CALM)), None)
    with sqlite3.connect(history_path) as connection:
        connection.execute("UPDATE runs SET result = X'00'")
    with pytest.raises(UsageError, match="a result is damaged"):
        history.get(1)


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


def test_a_folder_that_cannot_be_made_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edgeconv: CommandLine
) -> None:
    """It once was a raw "[Errno 2] ..."."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGECONV_HISTORY", str(tmp_path / "file" / "x" / "h.db"))
    with pytest.raises(
        UsageError, match=r"h.db cannot be used as the history: .*\nhint: set EDGECONV_H"
    ):
        History(SQLiteFile(default_path())).add(made_counts({"a": 1}), None)
    done = edgeconv("history")
    assert done.returncode == 0
    assert "nothing was measured yet: there is no " in done.stderr


def test_why_the_list_is_empty(history: History, edgeconv: CommandLine) -> None:
    history.add(made_counts({"a": 1}), None)
    assert "note: nothing was measured yet that matches b*\n" in edgeconv("history", "b*").stderr


def test_a_damaged_history_is_a_wrong_request(
    history_path: Path, tmp_path: Path, edgeconv: CommandLine
) -> None:
    history_path.parent.mkdir()
    history_path.write_bytes(b"not a database at all" * 100)
    for command in (("history",), ("compare", 1, 2), ("gate", 1, "--baseline", 2)):
        done = edgeconv(*command)
        assert done.returncode == 2
        assert "cannot be used as the history: file is not a database" in done.stderr


def test_history_as_csv_and_json(history: History, edgeconv: CommandLine) -> None:
    history.add(made_result(made_model('odd,"name"', CALM)), Revision("c" * 40, changed=False))
    (row,) = csv.DictReader(io.StringIO(edgeconv("history", "--csv").stdout))
    (entry,) = json.loads(edgeconv("history", "--json").stdout)["entries"]
    assert row["name"] == entry["name"] == 'odd,"name"'
    assert float(row["median_ns"]) == entry["median_ns"]
    whole = edgeconv("history", "--run", 1).stdout
    assert BenchResult.model_validate_json(whole) == history.get(1)


def test_sessions_of_a_device_tell_how_much_they_differ(history: History) -> None:
    """The mean of the prior, 1 % with 4 degrees of freedom, and of what was seen."""
    assert history.between_sessions("local") == NOT_KNOWN
    for offset in (0, 0, 10_000, 10_000):  # one percent
        model = made_model("m", [ns + offset for ns in CALM])
        same = ModelFile(name="m", bytes=1, sha256="1" * 64)
        history.add(made_result(model.model_copy(update={"file": same})), None)
    history.add(made_result(made_model("other", CALM)), None)
    found = history.between_sessions("local")
    assert found.sessions == 4
    # The logs are 0, 0 and 0.00995 twice: their variance is 0.00995² / 3, of which the noise of the
    # sessions themselves is a small part.
    seen = 0.00995**2 / 3
    assert 4 < found.variance.degrees < 7
    assert found.variance.value == pytest.approx((4 * 0.01**2 + 3 * seen) / 7, rel=0.05)
    assert history.between_sessions("ssh://pi") == NOT_KNOWN


def test_threads_are_kept_apart(history: History, edgeconv: CommandLine) -> None:
    """Beside each other in one session, and when sessions are compared: more are no noise."""
    one = made_model("m", CALM)
    two = one.model_copy(update={"threads": 2})
    fast = made_model("m", [ns // 2 for ns in CALM]).model_copy(update={"threads": 2})
    for _ in range(2):
        history.add(made_result(one, fast.model_copy(update={"file": two.file})), None)
    # All files agree: what is left is the prior alone.
    assert history.between_sessions("local").variance.value < NOT_KNOWN.variance.value
    header, *rows = edgeconv("history").stdout.splitlines()[1:]
    assert "Threads" in header
    figures = [row for row in rows if row != "m"]
    at = header.index("Threads") + len("Threads") - 1
    assert [row[at] for row in figures] == ["1", "2", "1", "2"]
    assert "Threads" not in edgeconv("history", "nothing").stdout


def test_threads_are_no_column_where_all_have_one(history: History, edgeconv: CommandLine) -> None:
    history.add(made_result(made_model("m" * 40, CALM)), None)
    done = edgeconv("history")
    assert "Threads" not in done.stdout
    assert "--wide also shows" in done.stderr


@pytest.mark.parametrize("column", ["median_ns", "log_variance"])
@pytest.mark.parametrize("value", [-1.0, 0.0, "x", b"\xff"])
def test_odd_figures_tell_nothing_of_sessions(
    history: History, history_path: Path, column: str, value: object
) -> None:
    """SQLite keeps a value of any type in any column, and logarithms want a positive one."""
    for _ in range(3):
        history.add(made_result(made_model("a.tflite", CALM)), None)
    with closing(sqlite3.connect(history_path)) as connection, connection:
        connection.execute(f"UPDATE models SET {column} = ?", (value,))
    assert history.between_sessions("local").sessions == (0 if column == "median_ns" else 3)


def test_compare_command(history: History, edgeconv: CommandLine) -> None:
    history.add(made_result(made_model("m", CALM)), None)
    history.add(made_result(made_model("m", SLOW)), None)
    done = edgeconv("compare", 1, 2)
    assert "100.0% slower" in done.stdout
    (report,) = json.loads(edgeconv("compare", 2, 1, "--json").stdout)["comparisons"]
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
    assert slower.stdout.startswith(
        "**Gate FAILED** (latency): a slow-down of 3% must be found; at most as much larger."
    )
    assert edgeconv("gate", 1, "--baseline", 2).returncode == 0
    assert edgeconv("gate", 2, "--baseline", 1, "--max-regression", "150%").returncode == 0
    for bad in ("x", "-1%", "nan", "inf"):
        assert edgeconv("gate", 2, "--baseline", 1, "--max-regression", bad).returncode == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("median_ns", None),
        ("median_ns", "x"),
        ("sha256", b"\xff"),
        ("threads", "many"),
        ("runtime", None),
        ("bytes", 2.5),
    ],
)
def test_odd_values_in_a_file(
    history: History, history_path: Path, column: str, value: object
) -> None:
    """SQLite keeps a value of any type in any column."""
    history.add(made_result(made_model("a.tflite", CALM)), None)
    with closing(sqlite3.connect(history_path)) as connection, connection:
        try:
            connection.execute(f"UPDATE models SET {column} = ?", (value,))
        except sqlite3.IntegrityError:
            return  # the schema refuses it
    with pytest.raises(UsageError, match="cannot be used as the history"):
        history.entries()


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """It states no version of ours, as an empty file does, but it has tables."""
    path = tmp_path / "bookmarks.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (address TEXT)")
        connection.commit()
    before = path.read_bytes()
    history = History(SQLiteFile(path))
    for use in (history.entries, lambda: history.add(made_result(made_model("a", CALM)), None)):
        with pytest.raises(UsageError, match="another program keeps its tables there"):
            use()
    assert path.read_bytes() == before
