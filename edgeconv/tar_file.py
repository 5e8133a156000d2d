"""Members of tar archives, read in place: nothing is unpacked to disk, and no link is followed.

The headers are read once, and give the place of each member in the archive. Its bytes are read when
they are asked for, so that a part of the data costs no more than that part.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgeconv.errors import DataError, UsageError
from edgeconv.limits import ARCHIVE_MEMBERS, MEMBER_BYTES
from edgeconv.near_names import not_a_file

_NAMES = re.compile(r"\.(tar|tar\.\w+|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
# What tarfile raises for damaged headers.
_DAMAGED = (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError)
_HEADER_BYTES = 1 << 20  # of one header with a long name, read at once
_CHUNK = 1 << 20
_REPACK = "pack it again with tar"


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file in an archive.

    Attributes:
        archive: The archive.
        name: Its name there, relative to the root of the archive.
        offset: Where its bytes begin.
        size: How many there are.
    """

    archive: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        """What a message calls it."""
        return f"{self.archive}:{self.name}"

    def read(self) -> bytes:
        """All of its bytes.

        Raises:
            LimitExceeded: There are too many.
            DataError: The archive was changed since its headers were read.
        """
        MEMBER_BYTES.check(self.size, f"{self} takes")
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        return self._whole(data, len(data))

    def sha256(self) -> str:
        """The SHA-256 of its bytes, in hexadecimal."""
        digest, left = hashlib.sha256(), self.size
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            while left and (chunk := file.read(min(left, _CHUNK))):
                digest.update(chunk)
                left -= len(chunk)
        self._whole(b"", self.size - left)
        return digest.hexdigest()

    def _whole(self, data: bytes, count: int) -> bytes:
        if count != self.size:
            raise DataError(
                f"{self.archive} was cut short while it was read",
                hint="let nothing write to it meanwhile",
            )
        return data


def is_tar(path: Path) -> bool:
    """Whether a path names an archive, or several by a range as in ``shard-{000..049}.tar``."""
    return not path.is_dir() and _NAMES.search(path.name) is not None


def archives_of(path: Path) -> list[Path]:
    """The archives that a path names: itself, or those of its range in the order of the numbers.

    Raises:
        UsageError: One of them is not there.
    """
    found = None if path.exists() else _RANGE.search(path.name)
    if found is None:
        return [_there(path)]
    first, last, width = int(found[1]), int(found[2]), len(found[1])
    if last < first:
        raise UsageError(f"{path}: the range ends before it begins", hint="write {000..049}")
    before, after = path.name[: found.start()], path.name[found.end() :]
    if _RANGE.search(after):
        raise UsageError(f"{path} has several ranges", hint="pass a folder of archives")
    return [
        _there(path.with_name(f"{before}{number:0{width}}{after}"))
        for number in range(first, last + 1)
    ]


def _there(path: Path) -> Path:
    if not path.is_file():
        raise not_a_file(path, "name a .tar archive")
    return path


def members_of(archive: Path) -> tuple[TarMember, ...]:
    """The files of an archive, in its order.

    Raises:
        DataError: It is damaged, cut short or compressed, or holds something else than files and
            folders, two files of one name, or a name that leads out of it.
        LimitExceeded: It has too many members.
    """
    stat = archive.stat()
    return _indexed(archive, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=256)
def _indexed(archive: Path, changed: int, size: int) -> tuple[TarMember, ...]:
    with _Headers(archive, "rb") as file:
        _refuse_packed(archive, file.read(len(max(_PACKED, key=len))))
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                members = _read_headers(archive, tar, size)
                end = tar.offset
        except _DAMAGED as error:
            raise DataError(f"{archive} is damaged: {error}", hint=_REPACK) from error
        file.seek(end)
        _check_end(archive, file)
    return members


class _Headers(io.FileIO):
    """A file of which little is read at once, whatever a header states of its length."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _HEADER_BYTES:
            raise tarfile.HeaderError("a header states a length that no header has")
        return super().read(size) or b""


def _refuse_packed(archive: Path, start: bytes) -> None:
    packed = next((name for magic, name in _PACKED.items() if start.startswith(magic)), None)
    if packed is not None:
        raise DataError(
            f"{archive} is compressed with {packed}, and members are read in place",
            hint="uncompress it to a .tar: images hardly get smaller",
        )


def _read_headers(archive: Path, tar: tarfile.TarFile, size: int) -> tuple[TarMember, ...]:
    found: dict[str, TarMember] = {}
    count, most = 0, ARCHIVE_MEMBERS.value
    while (member := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]  # it would keep every header
        count += 1
        if not 0 <= member.size <= size - member.offset_data:
            raise tarfile.HeaderError(f"{member.name!r} does not end in it")
        if count > most or member.isdir():
            continue
        if not member.isreg() or member.issparse():
            kind = "a link" if member.issym() or member.islnk() else "no plain file"
            raise DataError(
                f"{archive}:{member.name} is {kind}, and only plain files are read",
                hint="pack the files themselves, with tar --dereference --hard-dereference",
            )
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise DataError(
                f"{archive}:{member.name} leads out of the archive",
                hint="pack it again from inside its folder",
            )
        name = path.as_posix()
        name.encode()  # a manifest keeps names, as UTF-8
        if name in found:
            raise DataError(f"{archive} holds {name} twice", hint=_REPACK)
        found[name] = TarMember(archive, name, member.offset_data, member.size)
    ARCHIVE_MEMBERS.check(count, f"{archive} has")
    return tuple(found.values())


def _check_end(archive: Path, file: _Headers) -> None:
    """Refuse an archive without the zeros that end it: tarfile takes bad headers for the end."""
    chunk = file.read(_CHUNK)
    if not chunk:
        raise DataError(f"{archive} is cut short: it has no end", hint="copy or pack it again")
    while chunk:
        if chunk.strip(b"\0"):
            raise DataError(
                f"{archive} goes on after its end, or is damaged there",
                hint="pack it again; of several archives pass the folder",
            )
        chunk = file.read(_CHUNK)
