"""What a user names: files, folders, runs and revisions, of every kind."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from edgeconv.errors import UsageError
from edgeconv.store.history import History
from edgeconv.store.result_selector import match, resolve
from edgeconv.store.revision import Revision, current_revision
from edgeconv.store.sqlite import SQLiteFile
from edgeconv.versioned import Versioned
from support.command_line import CommandLine
from support.results import STARTED, made_counts, made_evaluation, made_model, made_result

CALM = [1_000_000, 1_001_000, 999_000]
TIMES = made_result(made_model("a", CALM))
LATER = TIMES.model_copy(update={"started": STARTED + timedelta(days=1)})
COUNTS = made_counts({"a": 5_000_000})
ACCURACY = made_evaluation({"a": [True, False, True]})


@pytest.fixture
def history(history_path: Path) -> History:
    return History(SQLiteFile(history_path))


def commit(repository: Path) -> Revision:
    """Another commit, which is HEAD then."""
    arguments = ["commit", "-q", "--allow-empty", "-m", "next"]
    subprocess.run(["git", "-C", repository, *arguments], check=True)
    revision = current_revision(repository)
    assert revision is not None
    return revision


def write(folder: Path, **results: Versioned) -> Path:
    folder.mkdir()
    for name, result in results.items():
        result.save(folder / f"{name}.json")
    return folder


def test_a_file_a_run_and_a_revision(history: History, repository: Path) -> None:
    with pytest.raises(UsageError, match="nothing was measured at HEAD"):
        resolve("HEAD", history, repository)
    history.add(TIMES, current_revision(repository))
    TIMES.save(repository / "r.json")
    for reference in (str(repository / "r.json"), "1", "HEAD", "trunk", "trunk~0"):
        assert resolve(reference, history, repository) == (TIMES,)
    for reference in ("no-such", "--all", "99999999999", "HEAD~5"):
        with pytest.raises(UsageError, match="is not a result file, a folder of them, a run"):
            resolve(reference, history, repository)


@pytest.mark.parametrize("result", [TIMES, COUNTS, ACCURACY])
def test_a_file_of_any_kind(history: History, tmp_path: Path, result: Versioned) -> None:
    result.save(tmp_path / "r.json")
    assert resolve(str(tmp_path / "r.json"), history, tmp_path) == (result,)


def test_of_a_revision_the_latest_of_each_kind(history: History, repository: Path) -> None:
    revision = current_revision(repository)
    for result in (made_counts({"a": 1}), TIMES, COUNTS):
        history.add(result, revision)
    assert set(resolve("HEAD", history, repository)) == {TIMES, COUNTS}


def test_revisions_are_held_against_each_other_kind_by_kind(
    history: History, repository: Path, edgeconv: CommandLine
) -> None:
    first, second = current_revision(repository), commit(repository)
    for result in (TIMES, COUNTS):
        history.add(result, first)
    history.add(made_counts({"a": 6_000_000}), second)
    done = edgeconv("gate", "HEAD", "--baseline", "HEAD~1")
    assert done.returncode == 1
    assert "+20.0% instructions" in done.stdout
    assert "baseline has results that were not made.\n\n- latencies" in done.stdout
    history.add(LATER, second)
    done = edgeconv("gate", "HEAD", "--baseline", "HEAD~1", "--max-regression", "20%")
    assert done.returncode == 0
    assert done.stdout.count("**Gate passed**") == 2
    assert "20.0% more instructions" in edgeconv("compare", "HEAD~1", "HEAD").stdout


def test_a_kind_that_one_side_lacks(
    history: History, repository: Path, edgeconv: CommandLine
) -> None:
    """A gate of revisions once passed without the instruction counts that the baseline had."""
    first, second = current_revision(repository), commit(repository)
    for result in (TIMES, COUNTS):
        history.add(result, first)
    history.add(LATER, second)
    gone = edgeconv("gate", "HEAD", "--baseline", "HEAD~1")
    assert gone.returncode == 1
    assert gone.stdout.count("**Gate INCONCLUSIVE** (latency)") == 1  # two sessions, no history
    assert "baseline has results that were not made.\n\n- instruction counts" in gone.stdout
    assert "only HEAD~1 has instruction counts" in edgeconv("compare", "HEAD~1", "HEAD").stderr
    added = edgeconv("gate", "HEAD~1", "--baseline", "HEAD")
    assert added.returncode == 3
    assert "- only HEAD\\~1 has instruction counts" in added.stdout
    one = edgeconv("gate", 3, "--baseline", "HEAD~1")  # a run is of one kind: no other was asked
    assert one.returncode == 3
    assert "- only HEAD\\~1 has instruction counts" in one.stdout


def test_two_names_of_one_run_are_refused(
    history: History, repository: Path, edgeconv: CommandLine
) -> None:
    """`compare main HEAD` on main once held a run against itself without a word."""
    history.add(TIMES, current_revision(repository))
    for before, after in (("trunk", "HEAD"), ("1", "HEAD"), ("1", "1")):
        for command in (("compare", before, after), ("gate", after, "--baseline", before)):
            done = edgeconv(*command)
            assert done.returncode == 2
            assert f"{before} and {after} are the same run, of 2026-01-02 03:04 UTC" in done.stderr
    folder = write(repository / "results", accuracy=ACCURACY, again=ACCURACY)
    for name in (folder, folder / "accuracy.json"):
        done = edgeconv("compare", name, name)
        assert done.returncode == 2
        assert "are the same\nhint: name two" in done.stderr
    # Two evaluations may come to the same.
    equal = edgeconv("compare", folder / "accuracy.json", folder / "again.json")
    assert equal.returncode == 0


def test_a_missing_revision_is_one_line(repository: Path, edgeconv: CommandLine) -> None:
    for name, words in (("nowhere", "or a git revision"), ("HEAD", "nothing was measured at HEAD")):
        done = edgeconv("gate", "HEAD", "--baseline", name)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.error


def test_counts_of_the_history_and_of_a_file(
    history: History, tmp_path: Path, edgeconv: CommandLine
) -> None:
    history.add(COUNTS, None)
    history.add(TIMES, None)
    made_counts({"a": 4_000_000}).save(tmp_path / "new.json")
    assert edgeconv("gate", tmp_path / "new.json", "--baseline", 1).returncode == 0
    mixed = edgeconv("gate", tmp_path / "new.json", "--baseline", 2)
    assert mixed.returncode == 2
    assert "2 holds latencies and " in mixed.stderr
    assert "holds instruction counts\nhint: name two of one kind" in mixed.stderr


def test_folders_are_held_against_each_other_file_by_file(
    tmp_path: Path, edgeconv: CommandLine
) -> None:
    old = write(tmp_path / "old", latency=TIMES, counts=COUNTS, accuracy=ACCURACY)
    new = write(tmp_path / "new", latency=TIMES, counts=COUNTS, accuracy=ACCURACY, more=TIMES)
    done = edgeconv("gate", new, "--baseline", old)
    assert done.returncode == 3, done.stderr
    for name in ("latency", "counts", "accuracy"):
        assert f"### {name}.json" in done.stdout
    assert done.stdout.count("**Gate passed**") == 2
    assert "**Gate INCONCLUSIVE** (latency)" in done.stdout  # two sessions, and no history
    assert f"- only {new} has more.json" in done.stdout
    report = json.loads(edgeconv("compare", old, new, "--json").stdout)
    assert [each["of"] for each in report["comparisons"]] == [
        "accuracy.json",
        "counts.json",
        "latency.json",
    ]
    (new / "counts.json").unlink()
    gone = edgeconv("gate", new, "--baseline", old)
    assert gone.returncode == 1
    assert (
        "**Gate FAILED**: the baseline has results that were not made.\n\n- counts" in gone.stdout
    )
    assert f"only {old} has counts.json" in edgeconv("compare", old, new).stderr


def test_one_regression_in_a_folder_fails_it(tmp_path: Path, edgeconv: CommandLine) -> None:
    old = write(tmp_path / "old", latency=TIMES, counts=COUNTS)
    new = write(tmp_path / "new", latency=TIMES, counts=made_counts({"a": 6_000_000}))
    done = edgeconv("gate", new, "--baseline", old)
    assert done.returncode == 1
    assert done.stdout.count("**Gate FAILED**") == 1
    assert done.stdout.count("**Gate INCONCLUSIVE**") == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"a": TIMES}, {"b": TIMES}, "no file is in both folders"),
        ({"a": TIMES}, {"a": COUNTS}, "a.json holds latencies in"),
        ({"a": TIMES}, {}, "new is a folder that has no .json results"),
        ({}, {"a": TIMES}, "old is a folder that has no .json results"),
    ],
)
def test_folders_that_do_not_go_together(
    tmp_path: Path,
    edgeconv: CommandLine,
    old: dict[str, Versioned],
    new: dict[str, Versioned],
    words: str,
) -> None:
    done = edgeconv(
        "gate", write(tmp_path / "new", **new), "--baseline", write(tmp_path / "old", **old)
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert done.error


def test_a_folder_and_a_file(history: History, tmp_path: Path) -> None:
    folder = write(tmp_path / "old", a=TIMES)
    with pytest.raises(UsageError, match="name two folders or two results"):
        match(str(folder), str(folder / "a.json"), history, tmp_path)


def test_a_folder_and_nothing(tmp_path: Path, edgeconv: CommandLine) -> None:
    """What is not there once was said to be no folder of results."""
    folder, nothing = write(tmp_path / "old", a=TIMES), tmp_path / "nodir"
    for command in (("gate", folder, "--baseline", nothing), ("compare", folder, nothing)):
        done = edgeconv(*command)
        assert done.returncode == 2
        assert f"{nothing} is not a result file, a folder of them" in done.stderr


def test_a_branch_that_is_called_like_a_folder(history: History, repository: Path) -> None:
    history.add(TIMES, current_revision(repository))
    commit(repository)
    subprocess.run(["git", "-C", repository, "branch", "old", "HEAD~1"], check=True)
    history.add(LATER, current_revision(repository))
    write(repository / "old", package=TIMES)
    assert match("old", "HEAD", history, repository).pairs == {"latencies": (TIMES, LATER)}


def test_a_bundle_is_no_result(history: History, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(
        UsageError, match="is a bundle, not a result\nhint: make one with `edgeconv"
    ):
        match(str(tmp_path), str(tmp_path), history, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", '{"kind": "accuracy"}', '{"kind": 3}', "\xff"),
        '{"schema_version": 1, "kind": "sustained"}',
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, edgeconv: CommandLine, text: str) -> None:
    broken, whole = tmp_path / "broken.json", tmp_path / "whole.json"
    broken.write_text(text, encoding="latin-1")
    TIMES.save(whole)
    for command in (("gate", broken, "--baseline", whole), ("compare", whole, broken)):
        done = edgeconv(*command)
        assert done.returncode == 2
        assert "broken.json" in done.stderr
        assert done.error


@pytest.mark.parametrize("result", [TIMES, COUNTS, ACCURACY])
def test_a_newer_schema(tmp_path: Path, edgeconv: CommandLine, result: Versioned) -> None:
    path = tmp_path / "new.json"
    result.model_copy(update={"schema_version": 99}).save(path)
    done = edgeconv("compare", path, path)
    assert done.returncode == 2
    assert "schema version 99, this edgeconv reads" in done.stderr
