"""A bundle appears whole or not at all, and nothing that an export did not write is lost."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest

from edgeconv import staging
from edgeconv.bundle import Bundle, sha256_of
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.staging import copy_files, recover, refuse_occupied, staged


@pytest.fixture
def existing(bundle: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / "out"
    shutil.copytree(bundle.path, path)
    return path


def write(path: Path, *, force: bool = True) -> None:
    """Replace what is at ``path`` by a folder with one file."""
    with staged(path, force=force) as stage:
        (stage / "new.onnx").write_text("new")


def names(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()}


def test_a_bundle_is_replaced_with_force_only(existing: Path) -> None:
    with pytest.raises(UsageError, match="exists\nhint: pass force=True"):
        write(existing, force=False)
    write(existing)
    assert names(existing) == {"new.onnx"}
    assert names(existing.parent) == {"out"}


def test_a_web_application_with_a_manifest_stays(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    (folder / ".git").mkdir(parents=True)
    (folder / "index.html").write_text("<html>")
    (folder / "manifest.json").write_text(json.dumps({"name": "app", "schema_version": 1}))
    with pytest.raises(UsageError, match="is not a bundle"):
        write(folder)
    assert names(folder) == {".git", "index.html", "manifest.json"}


@pytest.mark.parametrize("name", ["notes.txt", ".git"])
def test_what_is_not_of_the_bundle_is_named(existing: Path, name: str) -> None:
    (existing / name).mkdir() if name == ".git" else (existing / name).write_text("mine")
    before = names(existing)
    with pytest.raises(UsageError, match=f"holds {name}, which is not part of the bundle"):
        write(existing)
    assert names(existing) == before


def test_a_file_of_a_name_of_ours_that_no_export_wrote_stays(existing: Path) -> None:
    """The checksums say what an export wrote."""
    assert not (existing / "labels.txt").exists()
    (existing / "labels.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds labels\.txt, which is not part of the bundle"):
        refuse_occupied(existing, force=True)
    with (existing / "SHA256SUMS").open("a") as sums:
        sums.write(f"{sha256_of(existing / 'labels.txt')}  labels.txt\n")
    refuse_occupied(existing, force=True)


@pytest.mark.parametrize("name", ["README.md", "run.py"])
def test_a_text_that_was_edited_stays(existing: Path, name: str) -> None:
    """Its name is ours, and what stands in it is the user's."""
    refuse_occupied(existing, force=True)
    with (existing / name).open("a") as text:
        text.write("mine")
    said = rf"{re.escape(name)} was changed after the export, and would be lost\nhint: move it away"
    with pytest.raises(UsageError, match=said):
        refuse_occupied(existing, force=True)


def test_a_text_that_is_edited_during_the_export_stays(existing: Path) -> None:
    with pytest.raises(UsageError, match=r"README\.md was changed"), staged(existing, force=True):
        (existing / "README.md").write_text("mine")
    assert (existing / "README.md").read_text() == "mine"
    assert len(names(existing)) > 1


def test_a_damaged_model_file_is_replaced(existing: Path) -> None:
    """It is not edited by hand, and to export again is what mends it."""
    model = next(existing.glob("*.onnx"))
    model.write_bytes(model.read_bytes()[:9])
    write(existing)
    assert names(existing) == {"new.onnx"}


def test_without_checksums_companions_are_the_users(existing: Path) -> None:
    (existing / "SHA256SUMS").unlink(missing_ok=True)
    (existing / "runtime.py").write_text("mine")
    with pytest.raises(UsageError, match=r"holds .*, which is not part of the bundle"):
        refuse_occupied(existing, force=True)
    assert (existing / "runtime.py").read_text() == "mine"


def test_a_folder_of_a_name_of_ours_stays(existing: Path) -> None:
    (existing / "reference.npz").unlink()
    (existing / "reference.npz").mkdir()
    (existing / "reference.npz" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds reference\.npz, which is not part of the bundle"):
        write(existing)
    assert names(existing / "reference.npz") == {"notes.txt"}


def test_a_file_that_came_during_the_export_stays(existing: Path) -> None:
    with pytest.raises(UsageError, match="holds late"), staged(existing, force=True):
        (existing / "late").write_text("mine")
    assert (existing / "late").read_text() == "mine"
    assert names(existing.parent) == {"out"}


def test_a_link_stays_and_its_target_is_replaced(existing: Path) -> None:
    link = existing.with_name("link")
    link.symlink_to(existing)
    write(link)
    assert link.is_symlink()
    assert names(existing) == {"new.onnx"}


@pytest.mark.parametrize("path", [".", "..", "../here"])
def test_the_current_folder_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match="current folder"):
        write(Path(path))


def test_remains_of_a_killed_export_are_removed(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from edgeconv.staging import refuse_occupied, staged\n"
        "with staged(Path(sys.argv[1]), force=False) as stage:\n"
        "    (stage / 'a.onnx').write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    out = tmp_path / "out"
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program, out], check=False)
    mine = tmp_path / ".out.mine_now.tmp"
    mine.mkdir()
    (mine / "README.md").write_text("mine")  # a name of ours in a folder that is not
    write(out, force=False)
    assert names(tmp_path) == {"out", ".out.mine_now.tmp"}
    assert (mine / "README.md").read_text() == "mine"


def test_a_second_export_at_the_same_time_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with staged(out, force=False) as stage:
        (stage / "a.onnx").write_text("first")
        with pytest.raises(UsageError, match="another export is writing"):
            write(out)
    assert names(out) == {"a.onnx"}


def test_where_there_are_no_locks_an_export_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was refused with "No locks available". What may be in use stays."""

    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    other = tmp_path / ".out.0123abcd.tmp"
    other.mkdir()
    with staged(tmp_path / "out", force=False) as stage:
        (stage / "a").write_text("a")
    assert (tmp_path / "out" / "a").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"out", other.name}


def test_exports_beside_it_keep_what_they_write(tmp_path: Path) -> None:
    with staged(tmp_path / "out.v2", force=False) as stage:
        (stage / "a.onnx").write_text("second")
        write(tmp_path / "out", force=False)
    assert names(tmp_path) == {"out", "out.v2"}
    assert names(tmp_path / "out.v2") == {"a.onnx"}


def test_what_is_called_like_the_lock_stays(tmp_path: Path) -> None:
    lock, mine = tmp_path / ".out.lock", tmp_path / "thesis.txt"
    mine.write_text("mine")
    lock.symlink_to(mine)
    with pytest.raises(UsageError, match=r"\.out\.lock is in the way"):
        write(tmp_path / "out")
    lock.unlink()
    lock.write_text("mine")
    with pytest.raises(UsageError, match=r"\.out\.lock is in the way"):
        write(tmp_path / "out")
    assert (lock.read_text(), mine.read_text()) == ("mine", "mine")


def test_a_lock_that_was_removed_holds_nobody_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, others = fcntl.flock, []

    def meanwhile(file: TextIO, operation: int) -> None:
        """Let the export before us end, and another begin, after we opened the file."""
        flock(file, operation)
        if not others:
            (tmp_path / ".out.lock").unlink()
            others.append((tmp_path / ".out.lock").open("w"))
            flock(others[0], operation)

    monkeypatch.setattr(fcntl, "flock", meanwhile)
    with pytest.raises(UsageError, match="another export is writing"):
        write(tmp_path / "out")
    others[0].close()
    write(tmp_path / "out")


def test_without_an_exchange_a_killed_replacement_is_brought_back(
    existing: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(staging, "_exchange", lambda first, second: False)
    write(existing)
    assert names(existing) == {"new.onnx"}
    # Killed between the two renames: the old bundle lies beside its place.
    existing.rename(existing.with_name(".out.abcdef01.tmp.old"))
    shutil.copy(Path(__file__), existing.with_name(".out.abcdef01.tmp.old") / "manifest.json")
    recover(existing)
    assert names(existing) == {"new.onnx", "manifest.json"}
    assert "was brought back" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux's")
def test_folders_are_exchanged_in_one_step(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert staging._exchange(tmp_path / "a", tmp_path / "b")
    assert names(tmp_path / "a") == {"b"}


def test_a_folder_of_any_name_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "out[1]*?"
    write(path, force=False)
    assert names(tmp_path) == {path.name}
    refuse_occupied(tmp_path / "other", force=False)


def test_another_export_between_its_two_renames_is_left_alone(
    existing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where folders cannot be exchanged, a second export once took the first one's old bundle."""
    monkeypatch.setattr(staging, "_exchange", lambda first, second: False)
    rename, refused = Path.rename, []

    def meanwhile(self: Path, target: Path) -> Path:
        renamed = rename(self, target)
        if str(target).endswith(".old"):
            with pytest.raises(UsageError) as caught:
                write(existing)
            refused.append(caught.value.message)
        return renamed

    monkeypatch.setattr(Path, "rename", meanwhile)
    write(existing)
    assert refused == [f"another export is writing to {existing}"]
    assert (names(existing), names(existing.parent)) == ({"new.onnx"}, {"out"})


def test_what_a_link_points_to_is_brought_back(existing: Path) -> None:
    link = existing.with_name("link")
    link.symlink_to(existing)
    existing.rename(existing.with_name(".out.abcdef01.tmp.old"))
    with pytest.raises(UsageError, match="exists\nhint: pass force=True"):
        write(link, force=False)
    assert (existing / "manifest.json").is_file()


def test_a_thread_beside_an_export_makes_files_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process's umask is never another one, not even for a moment."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was changed"))
    write(tmp_path / "out", force=False)
    (tmp_path / "folder").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "folder").stat().st_mode


STAGED = (
    "import logging, sys\n"
    "from pathlib import Path\n"
    "from edgeconv.errors import UsageError\n"
    "from edgeconv.staging import staged\n"
    "logging.basicConfig(stream=sys.stdout, format='%(message)s')\n"
    "try:\n"
    "    with staged(Path(sys.argv[1]), force=True) as stage:\n"
    "        (stage / 'new.onnx').write_text('new')\n"
    "        exec(sys.argv[2])\n"
    "except UsageError as error: print(error.message)\n"
)


def staged_by_a_user(path: Path, meanwhile: str = "") -> str:
    """Replace ``path`` as an account that permissions keep off; returns what it says."""
    command = [sys.executable, "-c", STAGED, str(path), meanwhile]
    if os.getuid() == 0:  # root may do everything unless this is taken from it
        drop = "-dac_override,-dac_read_search,-fowner"
        command = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}", *command]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_folder_that_may_not_be_searched_is_named(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    said = staged_by_a_user(locked / "out")
    assert said == f"cannot write to {locked / 'out'}: Permission denied\n"


def test_a_bundle_whose_files_may_not_be_removed_is_refused_before_the_work(existing: Path) -> None:
    before = names(existing)
    existing.chmod(0o555)
    said = staged_by_a_user(existing, "raise AssertionError")
    existing.chmod(0o755)
    assert said == f"{existing} cannot be replaced: this account may not remove its files\n"
    assert names(existing) == before
    assert names(existing.parent) == {existing.name}


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to make files of another account")
@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux's")
def test_what_was_replaced_and_cannot_be_removed_is_named(existing: Path) -> None:
    """As in a folder like /tmp: anyone may write there, and remove their own files only."""
    existing.chmod(0o1777)
    for path in (existing, *existing.iterdir()):
        os.chown(path, 65534, 65534)
    said = staged_by_a_user(existing)
    (old,) = existing.parent.glob(f".{existing.name}.*.tmp")
    assert said == (
        f"the bundle that was replaced stays: Operation not permitted\nhint: remove {old}\n"
    )
    assert names(existing) == {"new.onnx"}


def test_remains_that_cannot_be_removed_are_in_no_ones_way(tmp_path: Path) -> None:
    remains = tmp_path / ".out.01234567.tmp"
    remains.mkdir()
    (remains / "manifest.json").write_text("old")
    remains.chmod(0o555)
    assert staged_by_a_user(tmp_path / "out") == ""
    remains.chmod(0o755)
    assert names(tmp_path / "out") == {"new.onnx"}


def test_a_full_disk_is_named_by_its_place(tmp_path: Path) -> None:
    """Writing to an open file says nothing of its name; a copy names what is read first."""
    out, full = tmp_path / "out", (errno.ENOSPC, os.strerror(errno.ENOSPC))
    made = f"cannot write to {re.escape(str(out))}: No space left on device\nhint: free some space"
    with pytest.raises(EdgeconvError, match=made), staged(out, force=False):
        raise OSError(*full)
    with pytest.raises(EdgeconvError, match=made), staged(out, force=False) as stage:
        raise OSError(*full, str(stage / "m.onnx"))
    with pytest.raises(EdgeconvError, match=made), staged(out, force=False) as stage:
        raise OSError(*full, "/elsewhere/m.onnx", None, str(stage / "m.onnx"))
    with pytest.raises(OSError, match="elsewhere"), staged(out, force=False):
        raise OSError(*full, "/elsewhere/m.onnx")
    assert not names(tmp_path)


def test_a_bundle_is_copied_file_by_file(existing: Path, tmp_path: Path) -> None:
    copy_files(existing, tmp_path / "copy")
    assert names(tmp_path / "copy") == names(existing)
