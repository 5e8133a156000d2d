"""Files that stand in for another one: a pointer of Git LFS, a web page, a compressed file.

They come with the name of the file that was meant, so its reader finds only that it is damaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeconv.errors import DataError, EdgeconvError

_READ = 512  # bytes; enough to recognize each of them
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
}
_PAGES = (b"<!doctype html", b"<html", b"<?xml")


@dataclass(frozen=True)
class StandIn:
    """What lies in the place of a file.

    Attributes:
        what: What it is, as in "a web page".
        hint: What to do about it.
    """

    what: str
    hint: str


def stand_in(path: Path) -> StandIn | None:
    """What lies at ``path`` in place of a file of data; None if it is none of these."""
    begin = first_bytes(path, _READ)
    if begin.startswith(b"version https://git-lfs.github.com/"):
        return StandIn(
            "a pointer of Git LFS, not the file itself",
            "fetch the file: `git lfs pull` in the repository that it comes from",
        )
    if begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        return StandIn(
            "a web page, not the file itself",
            "download it again by the address of the file, not of the page that shows it",
        )
    packed = next((name for magic, name in _COMPRESSED.items() if begin.startswith(magic)), None)
    if packed is not None:
        return StandIn(f"compressed with {packed}", "unpack it first")
    return None


def refuse_stand_in(path: Path, error: type[EdgeconvError] = DataError) -> None:
    """Raise ``error`` if something else lies at ``path``; see :func:`stand_in`."""
    found = stand_in(path)
    if found is not None:
        raise error(f"{path} is {found.what}", hint=found.hint)


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""
