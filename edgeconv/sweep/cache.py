"""Results of jobs on disk, by the keys of the jobs: a folder each, whole or not there.

A job writes into a folder of its own beside the others, which is renamed when everything in it is
on the disk. So any number of processes can write at the same time, and be killed at any time. A
lock beside such a folder says whether its process still runs; the next sweep removes the others.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgeconv.errors import UsageError, room_hint
from edgeconv.held import held, remove_unless_held
from edgeconv.limits import CACHE_BYTES
from edgeconv.user_folders import cache_folder

_STAGE, _LOCK = ".stage-", ".lock"
_ABANDONED_SECONDS = 24 * 3600  # where there are no locks: no job takes longer
_JOB = "job.json"
_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Entry:
    """A result in the cache.

    Attributes:
        path: Its folder.
        kind: The kind of its job.
        bytes: The size of its files.
        used: When it was last used, in seconds since the epoch.
        seconds: How long the job took.
    """

    path: Path
    kind: str
    bytes: int
    used: float
    seconds: float


class Cache:
    """The results below a folder.

    Args:
        folder: The folder; it is made when it is first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, kind: str, key: str) -> Path | None:
        """The folder of a result, which counts as used now; None if it is not there."""
        path = self.folder / kind / key
        try:
            os.utime(path)
        except OSError:  # it is not there, or is to read only
            return path if path.is_dir() else None
        return path

    def has(self, kind: str, key: str) -> bool:
        """Whether a result is there."""
        return (self.folder / kind / key).is_dir()

    @contextmanager
    def writing(self, kind: str, key: str) -> Iterator[Path]:
        """Yield an empty folder, which becomes the result when the block ends without an error.

        Where another process was faster, its result stays.

        Raises:
            UsageError: The folder cannot be written to.
        """
        place = self.folder / kind
        with ExitStack() as opened:
            try:
                place.mkdir(parents=True, exist_ok=True)
                stage = opened.enter_context(_stage(place))
            except OSError as error:
                raise UsageError(
                    f"the cache {self.folder} cannot be written to: {error.strerror}",
                    hint=room_hint(error, "name another folder with --cache"),
                ) from error
            started = time.monotonic()
            yield stage
            seconds = time.monotonic() - started
            about = {"schema_version": _SCHEMA_VERSION, "kind": kind, "seconds": seconds}
            (stage / _JOB).write_text(json.dumps(about), "utf-8")
            _to_disk(stage)
            try:
                stage.rename(place / key)
            except OSError:
                if not (place / key).is_dir():
                    raise

    def drop(self, kind: str, key: str) -> None:
        """Remove a result, such as a damaged one."""
        _remove(self.folder / kind / key)

    def entries(self) -> Iterator[Entry]:
        """All results."""
        for path in self.folder.glob("*/*"):
            if path.name.startswith(_STAGE) or not path.is_dir():
                continue
            try:
                about = json.loads((path / _JOB).read_text("utf-8"))
                size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                yield Entry(path, path.parent.name, size, path.stat().st_mtime, about["seconds"])
            except (OSError, ValueError, KeyError, TypeError):  # pruned meanwhile, or damaged
                continue

    def prune(self, most: int | None = None, *, before: float | None = None) -> list[Entry]:
        """Remove the results that were not used for longest, until the others fit.

        Args:
            most: The bytes that may stay; None is the limit of caches.
            before: Only what was last used before this time may go, in seconds since the epoch.

        Returns:
            What was removed.
        """
        most = CACHE_BYTES.value if most is None else most
        entries = sorted(self.entries(), key=lambda entry: entry.used)
        total = sum(entry.bytes for entry in entries)
        removed = []
        for entry in entries:
            if total <= most or (before is not None and entry.used >= before):
                break
            shutil.rmtree(entry.path, ignore_errors=True)
            total -= entry.bytes
            removed.append(entry)
        self.remove_abandoned()
        return removed

    def remove_abandoned(self) -> None:
        """Remove what killed processes were writing."""
        for lock in self.folder.glob(f"*/{_STAGE}{'[0-9a-f]' * 8}{_LOCK}"):
            remove_unless_held(lock, partial(_remove_stage, lock))
        for stage in self.folder.glob(f"*/{_STAGE}*"):
            with suppress(OSError):  # its job ends meanwhile, or the medium is to read only
                if time.time() - stage.stat().st_mtime > _ABANDONED_SECONDS:
                    _remove(stage)


@contextmanager
def _stage(place: Path) -> Iterator[Path]:
    """Make a folder to write a result into, and hold a file beside it; both end with the block."""
    while True:
        stage = place / f"{_STAGE}{secrets.token_hex(4)}"
        lock = stage.with_name(stage.name + _LOCK)
        with held(lock) as ours:
            if ours:
                try:
                    stage.mkdir(mode=0o700)
                    yield stage
                finally:
                    _remove_stage(lock)
                return


def _remove_stage(lock: Path) -> None:
    """Remove a folder that was written into, and last the file that says so."""
    shutil.rmtree(lock.with_name(lock.name.removesuffix(_LOCK)), ignore_errors=True)
    lock.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    """Remove a folder, or whatever else is in its place."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def default_cache() -> Path:
    """The folder of the user's cache."""
    return cache_folder() / "sweep"


def _to_disk(folder: Path) -> None:
    """Wait until the files of a folder are on the disk, and not only their names."""
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
