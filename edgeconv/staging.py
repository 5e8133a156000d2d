"""Write a bundle whole or not at all, and replace only what an export wrote."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeconv.bundle import (
    COMPANION_NAMES,
    EDITABLE_NAMES,
    MANIFEST_NAME,
    RANGES_NAME,
    RECIPE_NAME,
    REFERENCE_NAME,
    SUMS_NAME,
    Format,
    Manifest,
    sha256_of,
)
from edgeconv.checksums import listed_sums
from edgeconv.errors import NO_ROOM, BundleError, EdgeconvError, Notice, UsageError, room_hint
from edgeconv.held import Lock, lock_now

logger = logging.getLogger(__name__)

_STAGE = ".tmp"
_OLD = ".old"
_OWN_NAMES = (MANIFEST_NAME, RANGES_NAME, RECIPE_NAME, REFERENCE_NAME, SUMS_NAME)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def staged(path: Path, *, force: bool) -> Iterator[Path]:
    """Yield an empty temporary sibling of ``path``; on success it becomes ``path``.

    An existing bundle at ``path`` is replaced only with ``force``, at the end and in one step. A
    symbolic link stays, and what it points to is replaced. What killed exports left beside
    ``path`` is removed.

    Raises:
        UsageError: ``path`` exists and may not be replaced, its folder cannot be written to, or
            another export is writing to it.
    """
    named, path = path, path.resolve()
    try:
        refuse_occupied(named, force=force)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _only_export_to(path) as lock:
            _bring_back(path)
            if lock is Lock.OURS:  # without locks, what seems to be a remains may be in use
                _clear_remains(path)
            stage = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_STAGE}")
            stage.mkdir()  # with the permissions of any folder that the user makes there
            try:
                yield stage
                _refuse_what_is_there(named, force=force)  # an export is long enough to copy a file
                _put(stage, path)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        if not _is_of_the_place(error, path):
            raise  # a file that is read, such as a network's
        kind = EdgeconvError if error.errno in NO_ROOM else UsageError
        raise kind(
            f"cannot write to {named}: {error.strerror}",
            hint=room_hint(error, "choose another --out"),
        ) from error


def copy_files(source: Path, stage: Path) -> None:
    """Copy the files of a bundle; the first that cannot be copied is an error that names it."""
    stage.mkdir(exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.is_file():
            shutil.copy(file, stage / file.name)


def _is_of_the_place(error: OSError, path: Path) -> bool:
    """Whether an error is of the folder ``path``, its stage, its lock, or of a folder above it."""
    named = error.filename2 or error.filename
    if named is None:
        return error.errno in NO_ROOM  # an open file of the stage: no other is written meanwhile
    if not isinstance(named, (str, bytes)):  # a descriptor
        return False
    at = Path(os.fsdecode(named))
    if path.is_relative_to(at) or at.parent == path.parent:
        return True
    return at.is_relative_to(path.parent) and at.relative_to(path.parent).parts[0].startswith(
        f".{path.name}."
    )


def refuse_occupied(path: Path, *, force: bool) -> None:
    """Raise UsageError unless an export may write to ``path``."""
    if Path.cwd().is_relative_to(path.resolve()):
        raise UsageError(
            f"{path} is the current folder or one above it, and would be replaced",
            hint="name a folder of its own, as in --out out",
        )
    recover(path)
    _refuse_what_is_there(path, force=force)


def _refuse_what_is_there(path: Path, *, force: bool) -> None:
    if not path.exists():
        if path.is_symlink():
            raise UsageError(f"{path} is a link to nothing", hint="choose another --out")
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    try:
        manifest = Manifest.load(path / MANIFEST_NAME)
    except (UsageError, BundleError) as error:
        raise UsageError(
            f"{path} exists and is not a bundle", hint="choose another --out"
        ) from error
    ours = {*_OWN_NAMES, *(artifact.path for artifact in manifest.artifacts)}
    # A labels.txt or a runtime.py that no export wrote is the user's.
    sums = listed_sums(path)
    ours |= {*COMPANION_NAMES} & {*sums}
    foreign = sorted(
        item.name for item in path.iterdir() if item.name not in ours or not item.is_file()
    )
    if foreign:
        raise UsageError(
            f"{path} holds {foreign[0]}, which is not part of the bundle",
            hint="move it away, or choose another --out",
        )
    edited = (name for name in EDITABLE_NAMES if name in sums and _differs(path / name, sums[name]))
    if name := next(edited, None):
        raise UsageError(
            f"{path / name} was changed after the export, and would be lost",
            hint="move it away, or choose another --out",
        )
    if not force:
        raise UsageError(
            f"{path} exists", hint="pass --force to replace it, or choose another --out"
        )
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(
            f"{path} cannot be replaced: this account may not remove its files",
            hint="choose another --out",
        )


def _differs(file: Path, sha256: str) -> bool:
    return file.is_file() and sha256_of(file) != sha256


def recover(path: Path) -> None:
    """Bring back the bundle of a replacement that was killed between two renames.

    That can happen only where the file system cannot exchange two folders. While another export
    writes to ``path``, the bundle may be between the two renames of that one, and stays there.
    """
    path = path.resolve()
    if path.exists() or not path.parent.is_dir() or not _remains(path, f"{_STAGE}{_OLD}"):
        return
    with contextlib.suppress(UsageError), _only_export_to(path):
        _bring_back(path)


def _bring_back(path: Path) -> None:
    """Do what :func:`recover` says; the lock is held."""
    if path.exists():
        return
    for old in _remains(path, f"{_STAGE}{_OLD}"):
        if (old / MANIFEST_NAME).is_file():
            old.rename(path)
            logger.warning("%s was brought back: an export that replaced it was killed", path)
            return


def _remains(path: Path, suffix: str) -> list[Path]:
    """What killed exports to ``path`` left; those to ``out.v2`` beside ``out`` are none of them."""
    named = re.compile(re.escape(f".{path.name}.") + "[0-9a-f]{8}" + re.escape(suffix))
    return sorted(item for item in path.parent.iterdir() if named.fullmatch(item.name))


@contextmanager
def _only_export_to(path: Path) -> Iterator[Lock]:
    """Hold the lock on ``path``; the system releases it when the process ends, however it ends.

    Where the file system has no locks, an export goes on without.
    """
    lock = path.with_name(f".{path.name}.lock")
    if lock.is_symlink() or (lock.exists() and not _is_empty_file(lock)):
        raise UsageError(
            f"{lock} is in the way: it is not the lock of an export",
            hint="move it away, or choose another --out",
        )
    with _locked(lock) as found:
        if found is Lock.TAKEN:
            raise UsageError(
                f"another export is writing to {path}", hint="wait for it, or choose another --out"
            )
        try:
            yield found
        finally:
            lock.unlink(missing_ok=True)


def _is_empty_file(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0


@contextmanager
def _locked(lock: Path) -> Iterator[Lock]:
    """Take the lock, and hold it if it is free."""
    while True:
        with os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)) as file:
            found = lock_now(file.fileno())
            # An export that ended since the file was opened removed it: another one may have a
            # file of that name by now, and hold its lock.
            if found is not Lock.OURS or (
                lock.exists() and os.path.samestat(lock.stat(), os.fstat(file.fileno()))
            ):
                yield found
                return


def _clear_remains(path: Path) -> None:
    """Remove the temporary folders of killed exports to ``path``; the lock says none is in use."""
    for remains in (*_remains(path, _STAGE), *_remains(path, f"{_STAGE}{_OLD}")):
        if remains.is_symlink() or not remains.is_dir():
            continue
        try:
            if all(map(_is_ours, remains.iterdir())):
                shutil.rmtree(remains)
        except PermissionError as error:  # what another account left is in no one's way
            logger.debug("%s stays: %s", remains, error.strerror)


def _is_ours(file: Path) -> bool:
    named = file.name in (*_OWN_NAMES, *COMPANION_NAMES)
    written = file.suffix in {f".{format.value}" for format in Format}
    return (named or written) and file.is_file() and not file.is_symlink()


def _put(stage: Path, path: Path) -> None:
    """Make ``stage`` the folder ``path``, in one step where the system can do that."""
    if not path.exists() or not any(path.iterdir()):
        stage.rename(path)
    elif _exchange(stage, path):
        _remove_replaced(stage)
    else:
        old = path.with_name(f"{stage.name}{_OLD}")
        path.rename(old)
        try:
            stage.rename(path)
        except BaseException:
            old.rename(path)
            raise
        _remove_replaced(old)


def _remove_replaced(old: Path) -> None:
    """Remove what was replaced. The new bundle is in its place by now, so this is no failure."""
    try:
        shutil.rmtree(old)
    except OSError as error:
        logger.warning(
            Notice(f"the bundle that was replaced stays: {error.strerror}", f"remove {old}")
        )


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders atomically (Linux's renameat2); False where that cannot be done."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    names = os.fsencode(first), os.fsencode(second)
    result: int = renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    return result == 0
