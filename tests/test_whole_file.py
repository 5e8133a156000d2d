"""A file is written whole or not at all, and what lies at its place is not harmed."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import edgeconv
from edgeconv.errors import UsageError
from edgeconv.whole_file import whole_file, write_whole


def write(path: Path, text: str = "new") -> None:
    with whole_file(path) as part:
        part.write_text(text)


def test_a_new_file_has_the_permissions_of_any(tmp_path: Path) -> None:
    write(tmp_path / "result.json")
    (tmp_path / "other").touch()
    assert (tmp_path / "result.json").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_file_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 255)
    path.write_text("old")
    path.chmod(0o600)
    write(path)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    link, target = tmp_path / "link.json", tmp_path / "kept" / "result.json"
    link.symlink_to(target)
    for text in ("first", "second"):
        write(link, text)
        assert (link.readlink(), target.read_text()) == (target, text)


def test_a_pipe_stays(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write(pipe)
    reader.join(10)
    assert read == ["new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write(path, "half \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_standard_output_that_is_a_pipe_is_written_to() -> None:
    """What /dev/stdout resolves to is then the name of no file."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from edgeconv.whole_file import write_whole\n"
        "write_whole(Path(sys.argv[1]), 'new')\n"
    )
    command = [sys.executable, "-c", program, "/dev/stdout"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "new", "")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="/dev/full cannot be written: No space left on device"):
        write_whole(Path("/dev/full"), "new")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file/below cannot be written: Not a directory"):
        write_whole(tmp_path / "file" / "below", b"new")


def test_what_users_name_is_written_whole() -> None:
    """Nothing of ours writes a file in place but what lies in folders that become whole."""
    within = {
        # Into a folder that appears whole, or a temporary one.
        "edgeconv/checksums.py", "edgeconv/calibrated_ranges.py", "edgeconv/companion/write.py",
        "edgeconv/cli/sweep_command.py", "edgeconv/sweep/work.py", "edgeconv/sweep/cache.py",
        "edgeconv/sweep/software.py", "edgeconv/bench/end_to_end.py",
        "edgeconv/bench/profile/profile.py",
        # The part itself.
        "edgeconv/whole_file.py",
    }  # fmt: skip
    root = Path(edgeconv.__file__).parent.parent
    places = (path for path in root.glob("edgeconv/**/*.py") if "emulated" not in path.parts)
    in_place = {
        path.relative_to(root).as_posix()
        for path in places
        if re.search(r"\.write_(text|bytes)\(", path.read_text("utf-8"))
    }
    assert in_place == within


KILLED = """
import os, signal, sys
from pathlib import Path
from edgeconv.whole_file import whole_file
with whole_file(Path(sys.argv[1])) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    (left,) = tmp_path.glob(".*")
    assert (path.read_text(), left.read_text(), left.suffix) == ("old", "half", ".json")
    write(tmp_path / "other.txt")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "other.txt", path]


def test_what_is_being_written_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    foreign = [tmp_path / name for name in (".edgeconv.part", ".edgeconv.notes.part")]
    for each in foreign:
        each.write_text("mine")
    link, pipe = (tmp_path / f".edgeconv.{number:08x}.part" for number in range(2))
    link.symlink_to(foreign[0])
    os.mkfifo(pipe)
    with whole_file(tmp_path / "slow.json") as part:
        part.write_text("new")
        for _ in range(2):
            write(tmp_path / "quick.json")
    assert (tmp_path / "slow.json").read_text() == "new"
    assert all(map(os.path.lexists, (*foreign, link, pipe)))
    assert len(list(tmp_path.iterdir())) == 6


def test_many_writers_of_one_file(tmp_path: Path) -> None:
    """One may take the part of another for a rest before that one holds its lock."""
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            for _ in range(50):
                write(tmp_path / "result.json", str(number))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
