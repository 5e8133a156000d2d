"""Results on disk are whole or not there, whoever is killed when."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.cli import cli
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.software import FILE, KIND, known

WRITER = """
import sys, time
from pathlib import Path
from edgeconv.sweep.cache import Cache
with Cache(Path(sys.argv[1])).writing("measure", "k") as folder:
    (folder / "half").write_text("h" * 1000)
    print("writing", flush=True)
    time.sleep(60)
"""


def put(cache: Cache, key: str, size: int = 1000) -> Path:
    with cache.writing("measure", key) as folder:
        (folder / "result.json").write_bytes(b"x" * size)
    found = cache.find("measure", key)
    assert found is not None
    return found


def test_a_result_is_found_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c")
    assert cache.find("measure", "k") is None
    assert (put(cache, "k") / "result.json").stat().st_size == 1000
    assert [(entry.kind, entry.bytes > 1000) for entry in cache.entries()] == [("measure", True)]


def killed_writer(folder: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)


def test_a_killed_writer_leaves_no_result(tmp_path: Path) -> None:
    """What it wrote goes with the next sweep, and what another process writes stays."""
    cache = Cache(tmp_path)
    killed_writer(tmp_path)
    assert cache.find("measure", "k") is None
    assert list(cache.entries()) == []
    put(cache, "k")
    with cache.writing("measure", "other") as folder:
        (folder / "half").write_text("h")
        cache.remove_abandoned()
        assert len(list((tmp_path / "measure").iterdir())) == 3  # the folder, its lock, and k
        assert (folder / "half").exists()
    assert {path.name for path in (tmp_path / "measure").iterdir()} == {"k", "other"}


def test_where_there_are_no_locks_only_what_is_old_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    killed_writer(tmp_path)

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    put(cache, "k")
    cache.prune()
    left = [path for path in (tmp_path / "measure").iterdir() if path.name != "k"]
    assert len(left) == 2  # they are young, so their writer may be alive
    old = time.time() - 2 * 24 * 3600
    for path in left:
        os.utime(path, (old, old))
    cache.prune()
    assert [path.name for path in (tmp_path / "measure").iterdir()] == ["k"]


def test_a_failed_job_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(ValueError, match="no"), cache.writing("measure", "k"):
        raise ValueError("no")
    assert list((tmp_path / "measure").iterdir()) == []


def test_the_first_of_two_writers_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.writing("measure", "k") as folder:
        put(cache, "k", 1)
        (folder / "result.json").write_bytes(b"xx")
    found = cache.find("measure", "k")
    assert found is not None
    assert (found / "result.json").stat().st_size == 1
    assert len(list((tmp_path / "measure").iterdir())) == 1


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for age, key in enumerate(["new", "middle", "old"]):
        path = put(cache, key)
        stamp = time.time() - 1000 * age - 1000
        os.utime(path, (stamp, stamp))
    assert cache.find("measure", "old") is not None  # it is used now
    removed = cache.prune(2500)
    assert [entry.path.name for entry in removed] == ["middle"]
    assert cache.prune(0, before=time.time() - 500)[0].path.name == "new"
    assert [entry.path.name for entry in cache.entries()] == ["old"]


def test_the_limit_is_an_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    put(cache, "k")
    assert cache.prune() == []
    monkeypatch.setenv("EDGECONV_MAX_CACHE_BYTES", "10")
    assert len(cache.prune()) == 1


def test_a_cache_on_a_medium_that_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    path = put(cache, "k")

    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "utime", refused)
    assert cache.find("measure", "k") == path
    assert cache.find("measure", "other") is None


def test_a_file_in_the_place_of_a_result_gives_way(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    (tmp_path / "measure").mkdir()
    (tmp_path / "measure" / "k").write_text("")
    (tmp_path / "measure" / "link").symlink_to(tmp_path)
    for key in ("k", "link"):
        cache.drop("measure", key)
        assert (put(cache, key) / "result.json").exists()


@pytest.mark.parametrize("damage", ["missing", "not text"])
def test_what_a_board_had_is_asked_again_where_it_is_damaged(tmp_path: Path, damage: str) -> None:
    cache, answer = Cache(tmp_path), Future[str]()
    answer.set_result("Python 3.11.2")
    assert known("pi", "ssh://pi", answer, cache) == "Python 3.11.2"
    (kept,) = (tmp_path / KIND).glob(f"*/{FILE}")
    if damage == "missing":
        kept.unlink()
    else:
        kept.write_bytes(b"\xff")
    assert known("pi", "ssh://pi", answer, cache) == "Python 3.11.2"
    silent = Future[str]()
    silent.set_exception(MeasurementError("no answer"))
    assert known("pi", "ssh://pi", silent, cache) == "Python 3.11.2"


def test_a_place_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("")
    with (
        pytest.raises(UsageError, match="cannot be written to"),
        Cache(tmp_path / "c").writing("measure", "k"),
    ):
        pass


def test_a_job_that_ends_while_abandoned_ones_are_looked_for(tmp_path: Path) -> None:
    """Its folder is listed, and gone when it is looked at, as a link to nothing is."""
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / ".stage-12345678").symlink_to("nothing")
    assert Cache(tmp_path).prune() == []


@pytest.mark.parametrize("command", [("ls",), ("ls", "--json"), ("prune", "--to", "0B")])
def test_a_cache_that_is_named_must_be_there(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Of a misspelt one it said that 0 results were removed."""
    (tmp_path / "cache").mkdir()
    done = CliRunner().invoke(cli, ["cache", *command, "--cache", str(tmp_path / "cahce")])
    assert isinstance(done.exception, UsageError)
    assert done.exception.message == f"there is no folder {tmp_path / 'cahce'}"
    assert done.exception.hint == f"did you mean {str(tmp_path / 'cache')!r}?"


def test_a_cache_with_nothing_and_with_one_result(tmp_path: Path) -> None:
    where = ["--cache", str(tmp_path)]
    assert CliRunner().invoke(cli, ["cache", "ls", *where]).stderr == (
        f"note: nothing is kept in {tmp_path}\n"
    )
    put(Cache(tmp_path), "a")
    done = CliRunner().invoke(cli, ["cache", "prune", "--to", "0B", *where])
    assert done.stdout.startswith("removed 1 result, ")
