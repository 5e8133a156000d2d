"""What is made once and kept: userlands, boards' system files and the compiled counter."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeconv import user_folders
from edgeconv.held import NO_LOCKS


def cache_folder() -> Path:
    """Return the folder in which it is kept."""
    return user_folders.cache_folder() / "emulated"


def recipe(*ingredients: object) -> str:
    """Return a digest of all that something is made from, the code that makes it included.

    It is part of the name in the cache, so what another version has made is never used. Paths
    stand for the content of their files.
    """
    contents = [
        item.read_bytes() if isinstance(item, Path) else str(item).encode() for item in ingredients
    ]
    return hashlib.sha256(repr(contents).encode()).hexdigest()[:12]


def make_once(kind: str, recipe: str, make: Callable[[Path], None]) -> Path:
    """Return ``KIND-RECIPE`` of the cache; ``make`` makes it where it is missing.

    It appears whole or not at all: ``make`` gets an empty folder, which is renamed at the end.
    Other processes wait meanwhile, and a folder that a killed process left half made is removed.
    """
    folder = cache_folder() / f"{kind}-{recipe}"
    if folder.is_dir():
        return folder
    with lock(cache_folder() / f"{kind}.lock"):
        if folder.is_dir():  # made by another process while we waited
            return folder
        stage = cache_folder() / f".{kind}.part"
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        try:
            make(stage)
            stage.chmod(0o755)
            stage.rename(folder)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    return folder


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one process in at a time; the others wait. The lock ends with its process.

    Where the file system has no locks, all are let in.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield
