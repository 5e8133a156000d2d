"""Locks that say whether a process still runs, where there are locks and where there are none."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from edgeconv.device.emulated.cache import lock
from edgeconv.held import NO_LOCKS, Lock, held, lock_now, remove_unless_held


def without_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As some network file systems are."""

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)


def test_what_comes_of_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    with path.open("w") as one, path.open() as other:
        assert [lock_now(file.fileno()) for file in (one, other)] == [Lock.OURS, Lock.TAKEN]
        without_locks(monkeypatch, errno.ENOLCK)
        assert lock_now(other.fileno()) is Lock.UNKNOWN
        without_locks(monkeypatch, errno.EIO)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            lock_now(other.fileno())


@pytest.mark.parametrize("number", NO_LOCKS)
def test_without_locks_nothing_is_a_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    without_locks(monkeypatch, number)
    path = tmp_path / "part"
    with held(path) as ours:
        assert ours
    remove_unless_held(path, path.unlink)
    assert path.exists()
    with lock(tmp_path / "made.lock"):
        pass
