"""Tar archives in place: what they hold, and what is refused of those that others made."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.errors import DataError, EdgeconvError, UsageError
from edgeconv.limits import LimitExceeded
from edgeconv.tar_file import archives_of, is_tar, members_of

BLOCK = 512


def write_tar(path: Path, files: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_read_in_place_in_their_order(tmp_path: Path, format: int) -> None:
    files = {"b/2.jpg": b"two" * 999, "a/1.jpg": b"", "ü/ß.cls": b"7", "c.d.e": b"x" * BLOCK}
    if format != tarfile.USTAR_FORMAT:
        files["long/" * 60 + "name"] = b"a name that the first header cannot hold"
    members = members_of(write_tar(tmp_path / "x.tar", files, format))
    assert {member.name: member.read() for member in members} == files
    assert [member.name for member in members] == list(files)
    for member in members:
        assert member.sha256() == hashlib.sha256(files[member.name]).hexdigest()


def test_what_tar_itself_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "cat" / "deep").mkdir(parents=True)
    (tmp_path / "cat" / "deep" / "1.png").write_bytes(b"png")
    subprocess.run(["tar", "-cf", "x.tar", "./cat"], cwd=tmp_path, check=True)
    (member,) = members_of(tmp_path / "x.tar")
    assert (member.name, member.read()) == ("cat/deep/1.png", b"png")


def test_a_range_names_archives_in_its_order(tmp_path: Path) -> None:
    for number in range(8, 12):
        write_tar(tmp_path / f"s-{number:03}.tar", {"a": b""})
    write_tar(tmp_path / "odd{0..1}.tar", {"a": b""})
    found = archives_of(tmp_path / "s-{008..011}.tar")
    assert [path.name for path in found] == ["s-008.tar", "s-009.tar", "s-010.tar", "s-011.tar"]
    assert archives_of(tmp_path / "odd{0..1}.tar") == [tmp_path / "odd{0..1}.tar"], "it is there"
    with pytest.raises(UsageError, match=r"s-012\.tar: no such file"):
        archives_of(tmp_path / "s-{008..999999999}.tar")
    with pytest.raises(UsageError, match="ends before it begins"):
        archives_of(tmp_path / "s-{3..1}.tar")
    with pytest.raises(UsageError, match="several ranges"):
        archives_of(tmp_path / "s-{0..1}-{0..1}.tar")
    named = ["a.tar", "a.TAR", "a.tar.gz", "a.tgz", "s-{00..10}.tar"]
    assert all(is_tar(Path(name)) for name in named)
    assert not any(is_tar(Path(name)) for name in ("a.npz", "tar", "a.target", "a.gz"))


def add(tar: tarfile.TarFile, name: str, type: bytes, target: str = "", size: int = 0) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = type, target, size
    tar.addfile(info, io.BytesIO(b"\0" * size))


@pytest.mark.parametrize(
    ("name", "type", "said"),
    [
        ("a/1.jpg", tarfile.SYMTYPE, r"a/1\.jpg is a link, .*\nhint: .*--dereference"),
        ("a/1.jpg", tarfile.LNKTYPE, "is a link"),
        ("a/1.jpg", tarfile.FIFOTYPE, "is no plain file"),
        ("a/1.jpg", tarfile.CHRTYPE, "is no plain file"),
        ("/etc/passwd", tarfile.REGTYPE, "leads out of the archive"),
        ("a/../../1.jpg", tarfile.REGTYPE, "leads out of the archive"),
        ("./good.jpg", tarfile.REGTYPE, r"holds good\.jpg twice"),
        ("a\udcff.jpg", tarfile.REGTYPE, "is damaged"),
    ],
)
def test_members_that_are_refused(tmp_path: Path, name: str, type: bytes, said: str) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        add(tar, "good.jpg", tarfile.REGTYPE)
        add(tar, name, type, "/etc/passwd")
    with pytest.raises(DataError, match=said):
        members_of(tmp_path / "x.tar")


def cut_in_a_member(data: bytes) -> bytes:
    return data[: BLOCK + 100]


def cut_behind_a_member(data: bytes) -> bytes:
    return data[: 2 * BLOCK + 100]


def cut_between_members(data: bytes) -> bytes:
    return data[: 6 * BLOCK]


def cut_in_a_header(data: bytes) -> bytes:
    return data[: 6 * BLOCK + 99]


def bad_header(data: bytes) -> bytes:
    return data[: 6 * BLOCK] + b"?" * BLOCK + data[7 * BLOCK :]


def appended(data: bytes) -> bytes:
    return data + data


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut_in_a_member, "is damaged: 'a' does not end in it"),
        (cut_behind_a_member, "is damaged: unexpected end of data"),
        (cut_between_members, "is cut short: it has no end"),
        (cut_in_a_header, "goes on after its end, or is damaged there"),
        (bad_header, "goes on after its end, or is damaged there"),
        (appended, "goes on after its end, or is damaged there"),
        (lambda data: b"", "is damaged: empty file"),
        (lambda data: b"no tar at all" * 100, "is damaged"),
        (gzip.compress, r"is compressed with gzip, .*\nhint: uncompress it"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, damage: Callable[[bytes], bytes], said: str) -> None:
    path = write_tar(tmp_path / "x.tar", dict.fromkeys("abc", b"x" * (BLOCK + 1)))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=said):
        members_of(path)


@given(st.binary(max_size=6 * BLOCK), st.integers(0, 10 * BLOCK), st.integers(0, 2))
def test_whatever_the_bytes_are_they_end_in_a_message(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, place: int, format: int
) -> None:
    path = tmp_path_factory.mktemp("junk") / "x.tar"
    write_tar(path, {"a.jpg": b"x" * 600, "b" * 99: b"y"}, format)
    data = bytearray(path.read_bytes())
    data[place : place + len(junk)] = junk
    path.write_bytes(data)
    try:
        members = members_of(path)
    except EdgeconvError:
        return
    assert all(0 <= m.offset <= m.offset + m.size <= len(data) for m in members)


def header(name: bytes, type: bytes, size: bytes) -> bytes:
    """A header of the GNU kind, with a right checksum."""
    made = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT))
    made[: len(name)] = name
    made[124:136] = size
    made[156:157] = type
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


@pytest.mark.parametrize("type", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.REGTYPE])
@pytest.mark.parametrize(
    "size",
    [
        b"77777777777\0",  # 8 GB
        b"\x80" + (1 << 62).to_bytes(11, "big"),
        b"\xff" * 11 + b"\x00",  # -256
        b"\xff" + (-3 * BLOCK).to_bytes(11, "big", signed=True),
    ],
)
def test_a_header_that_lies_about_a_size(tmp_path: Path, type: bytes, size: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(header(b"a.jpg", type, size) * 3 + b"\0" * 1024)
    with pytest.raises(DataError, match="is damaged"):
        members_of(path)


def test_headers_of_headers_do_not_end_the_process(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(header(b"a", tarfile.GNUTYPE_LONGNAME, b"00000000000\0") * 20_000)
    with pytest.raises(DataError, match="is damaged"):
        members_of(path)


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "x.tar", {"a": b"12345", "b": b"", "c": b""})
    first = members_of(path)[0]
    monkeypatch.setenv("EDGECONV_MAX_MEMBER_BYTES", "4")
    with pytest.raises(LimitExceeded, match=r"x\.tar:a takes 5 B, and the limit is 4 B"):
        first.read()
    again = write_tar(tmp_path / "y.tar", {"a": b"12345", "b": b"", "c": b""})
    monkeypatch.setenv("EDGECONV_MAX_ARCHIVE_MEMBERS", "2")
    with pytest.raises(LimitExceeded, match=r"has 3 members, .*\nhint: .*MEMBERS=3"):
        members_of(again)


def test_an_archive_that_changes_is_noticed(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"a": b"x" * 2000})
    (member,) = members_of(path)
    path.write_bytes(path.read_bytes()[:1000])
    for read in (member.read, member.sha256):
        with pytest.raises(DataError, match="was cut short while it was read"):
            read()
    write_tar(path, {"b": b"y"})
    assert [member.name for member in members_of(path)] == ["b"]
