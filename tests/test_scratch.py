"""Temporary files where the disk, or a limit, has no room for them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from edgeconv.errors import UsageError
from edgeconv.scratch import NoRoom, needs_room, temporary_folder

FULL = OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def test_a_folder_ends_with_the_block() -> None:
    with temporary_folder() as folder:
        (folder / "file").touch()
    assert not folder.exists()


def test_no_room_in_the_folder_is_said_of_it() -> None:
    said = "the folder for temporary files, .*, has no room: File too large"
    for named in (True, False):
        with pytest.raises(NoRoom, match=said), temporary_folder() as folder:
            raise OSError(*FULL.args, str(folder / "x")) if named else FULL


def test_an_export_into_the_folder_does_not_ask_for_another_out() -> None:
    with pytest.raises(NoRoom, match="set TMPDIR"), temporary_folder() as folder:
        raise UsageError("cannot write", hint="choose another --out") from OSError(
            *FULL.args, str(folder / "out" / "x")
        )


def test_other_errors_pass(tmp_path: Path) -> None:
    for met in (OSError(*FULL.args, str(tmp_path / "x")), PermissionError(errno.EACCES, "no")):
        with pytest.raises(OSError) as caught, temporary_folder():  # noqa: PT011  # it is the same
            raise met
        assert caught.value is met
    # A disk that still has room was not what was full.
    elsewhere = OSError(errno.ENOSPC, "full")
    with pytest.raises(OSError) as caught, needs_room():  # noqa: PT011
        raise elsewhere
    assert caught.value is elsewhere


def test_no_folder_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    with pytest.raises(NoRoom, match="no folder for temporary files"), temporary_folder():
        pass


LIMITED = """
import resource, sys
from pathlib import Path
from edgeconv.array_file import stored_arrays
from edgeconv.scratch import NoRoom
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    stored_arrays(Path(sys.argv[1]))
except NoRoom as error:
    print(error)
"""


@pytest.mark.parametrize("order", ["C", "F"])
def test_data_that_does_not_fit_is_not_called_damaged(tmp_path: Path, order: str) -> None:
    path = tmp_path / "x.npz"
    x = np.zeros((100, 100), order=order)  # type: ignore[call-overload]
    np.savez(path, x=x) if order == "F" else np.savez_compressed(path, x=x)
    command = [sys.executable, "-c", LIMITED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "has no room: File too large\nhint: raise the limit" in done.stdout, done.stderr


KILLED = """
import os, signal
from edgeconv.scratch import temporary_folder
with temporary_folder() as folder:
    (folder / "half").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    subprocess.run(
        [sys.executable, "-c", KILLED], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False
    )
    assert len([*tmp_path.glob("edgeconv-*/files/half")]) == 1
    with temporary_folder() as folder:
        assert [*tmp_path.iterdir()] == [folder.parent]
    assert [*tmp_path.iterdir()] == []


def test_what_is_used_and_what_is_not_ours_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user may call a folder as ours are called."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("edgeconv-projects", "edgeconv-withlock", "edgeconv-empty___"):
        (tmp_path / name).mkdir()
    (tmp_path / "edgeconv-projects" / "files").mkdir()
    (tmp_path / "edgeconv-withlock" / "edgeconv.lock").touch()
    (tmp_path / "edgeconv-withlock" / "thesis.txt").write_text("mine")
    (tmp_path / "edgeconv-linked__").symlink_to("edgeconv-projects")
    with temporary_folder() as first, temporary_folder() as second:
        assert first.is_dir()
        assert second.is_dir()
        assert first != second
    assert (tmp_path / "edgeconv-withlock" / "thesis.txt").exists()
    assert len([*tmp_path.iterdir()]) == 4


def test_an_error_within_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="of the block"), temporary_folder():
        raise FileNotFoundError(errno.ENOENT, "of the block", "x")
    assert [*tmp_path.iterdir()] == []
