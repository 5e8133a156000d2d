"""The lock on a device, whose file anyone may have put there before."""

from __future__ import annotations

import getpass
import os
import re
import runpy
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeconv.device.local import LocalDevice
from edgeconv.errors import MeasurementError
from edgeconv.runner import LOCK

pytestmark = pytest.mark.slow

OTHER_ACCOUNT = 65534


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the lock's file is: in a folder like /tmp, everyone's and sticky."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setenv("EDGECONV_LOCK", str(folder / "edgeconv.lock"))
    return folder / "edgeconv.lock"


def refused() -> MeasurementError:
    with pytest.raises(MeasurementError) as caught, LocalDevice().lock(60):
        pass
    return caught.value


def test_where_it_is_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """All accounts must look in one place, so no variable of the session counts."""
    monkeypatch.delenv("EDGECONV_LOCK")
    assert runpy.run_path(str(LOCK))["FILE"] == "/tmp/edgeconv.lock"


def test_who_holds_it_since_when(place: Path) -> None:
    with LocalDevice().lock(60):
        message = refused().message
    who = re.escape(f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}")
    since = r", since \d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.fullmatch(rf"local: another edgeconv \({who}{since}\) is measuring there", message), (
        message
    )


def test_every_account_may_take_it(place: Path) -> None:
    with LocalDevice().lock(60):
        assert stat.S_IMODE(place.stat().st_mode) == 0o666
    with LocalDevice().lock(60) as lock:  # free again, the file stays
        lock.renew()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another account")
def test_another_account_is_kept_off(place: Path) -> None:
    """With fs.protected_regular, opening a stranger's file there with O_CREAT would fail."""
    for parent in place.parents:
        if parent.stat().st_uid == os.geteuid() and parent != place.parent:
            parent.chmod(parent.stat().st_mode | 0o011)
    # It may not be able to read this Python's files, so all is loaded before.
    become = f"os.setgroups([]); os.setgid({OTHER_ACCOUNT}); os.setuid({OTHER_ACCOUNT})"
    program = f"import os, select, stat, fcntl, errno\n{become}\nexec({LOCK.read_text()!r})"
    command = [sys.executable, "-I", "-c", program, "60"]

    def as_other_account() -> str:
        done = subprocess.run(
            command, input="nobody@elsewhere\n", capture_output=True, text=True, check=True
        )
        return done.stdout

    with LocalDevice().lock(60):
        assert as_other_account().startswith(f"busy {getpass.getuser()}@")
    assert as_other_account() == "locked \n"
    assert place.read_text() == "nobody@elsewhere"
    place.unlink()
    assert as_other_account() == "locked \n"  # its own file now
    assert place.stat().st_uid == OTHER_ACCOUNT
    with LocalDevice().lock(60) as lock:
        lock.renew()


def link(place: Path) -> None:
    place.symlink_to(place.with_name("precious"))


def hard_link(place: Path) -> None:
    os.link(place.with_name("precious"), place)


@pytest.mark.parametrize("attack", [link, hard_link])
def test_no_file_is_written_through_a_link(place: Path, attack: Callable[[Path], None]) -> None:
    precious = place.with_name("precious")
    precious.write_text("precious")
    attack(place)
    error = refused()
    assert error.message.startswith(f"local: its lock cannot be taken: {place}: ")
    assert error.hint.startswith("remove that file as its owner or as root, or name another one")
    assert precious.read_text() == "precious"


def test_a_link_to_nothing_makes_no_file(place: Path) -> None:
    link(place)
    refused()
    assert not place.with_name("precious").exists()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "fifo"])
def test_what_is_no_file_is_refused_at_once(place: Path, make: Callable[[Path], None]) -> None:
    make(place)
    assert refused().message.startswith(f"local: its lock cannot be taken: {place}: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every file")
def test_a_file_that_is_closed_to_this_account(place: Path) -> None:
    place.touch(0o000)
    assert refused().message.endswith(f"{place}: Permission denied")


def test_a_file_that_was_removed_meanwhile_is_not_locked(place: Path) -> None:
    """Two would hold two locks: one on the file that has no name any more."""
    with LocalDevice().lock(60):
        place.unlink()
        with LocalDevice().lock(60):  # what no lock can prevent
            assert "is measuring there" in refused().message
