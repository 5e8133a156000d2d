"""Rows of arrays in ``.npy`` and ``.npz`` files, read one at a time.

A row is read from the file when it is asked for. A memory map would do that too, but its pages
count as memory of the process, and it does not notice a file that was cut short.
"""

from __future__ import annotations

import math
import os
import shutil
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError
from edgeconv.limits import UNPACKED_BYTES
from edgeconv.near_names import not_a_file
from edgeconv.scratch import needs_room, temporary_file
from edgeconv.stand_in import refuse_stand_in

UNNAMED = "arr_0"  # what np.savez calls an array that was given no name
# What a damaged file raises on its way through zipfile, zlib and NumPy's parser of headers.
_DAMAGED = (
    *(ValueError, OSError, EOFError, RuntimeError, TypeError, KeyError, struct.error),
    *(SyntaxError, tokenize.TokenError, MemoryError, zipfile.BadZipFile, zlib.error),
)
_LOCAL_HEADER = 30  # bytes before the name in a ZIP member's own header


@dataclass(frozen=True)
class StoredArray:
    """An array in C order, mostly [N, …], at ``offset`` bytes into an open file."""

    file: BinaryIO
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    def row(self, index: int) -> npt.NDArray[Any]:
        """Read row ``index`` as [1, …]."""
        shape = (1, *self.shape[1:])
        return self._read(index * math.prod(shape) * self.dtype.itemsize, shape)

    def whole(self) -> npt.NDArray[Any]:
        """Read all of it."""
        return self._read(0, self.shape)

    def _read(self, offset: int, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        size = math.prod(shape) * self.dtype.itemsize
        data = bytearray(size)
        done = 0
        while done < size:  # one call reads 2 GiB at the most
            rest = memoryview(data)[done:]
            count = os.preadv(self.file.fileno(), [rest], self.offset + offset + done)
            if count == 0:
                raise DataError(
                    f"{self.file.name} was cut short while it was read",
                    hint="let nothing write to it meanwhile",
                )
            done += count
        return np.frombuffer(data, self.dtype).reshape(shape)


def open_arrays(path: Path) -> dict[str, StoredArray]:
    """Open the arrays of samples in an ``.npy`` or an ``.npz`` file, as :func:`stored_arrays` does.

    Raises:
        UsageError: There is no such file.
        DataError: The file is damaged, or holds something else than arrays of samples.
        LimitExceeded: It unpacks to too much.
    """
    arrays = stored_arrays(path)
    for name, array in arrays.items():
        if not array.shape or array.dtype.kind not in "fiub":
            raise DataError(
                f"{path}: {name!r} is not an array of samples",
                hint="store numbers with the samples along the first dimension",
            )
    return arrays


def stored_arrays(path: Path) -> dict[str, StoredArray]:
    """Open the arrays of an ``.npy`` file (then it is called ``x``) or of an ``.npz`` file.

    Pickled objects are refused. Compressed members are unpacked into temporary files, which are
    deleted with the arrays.

    Raises:
        UsageError: There is no such file.
        DataError: The file is damaged, or holds something else than arrays.
        LimitExceeded: It unpacks to too much.
    """
    with _understood(path):
        return {"x": _open_npy(path)} if path.suffix == ".npy" else _open_npz(path)


def row_counts(path: Path) -> dict[str, int]:
    """How many rows each array of such a file has, where it has dimensions.

    Only the headers are read, and nothing is unpacked.

    Raises:
        UsageError: There is no such file.
        DataError: A header is damaged.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    with _understood(path), path.open("rb") as file:
        if path.suffix == ".npy":
            shapes["x"], _, _ = _header(file)
        else:
            with zipfile.ZipFile(file) as archive:
                for name in archive.namelist():
                    with archive.open(name) as member:
                        shapes[name.removesuffix(".npy")], _, _ = _header(member)
    return {name: shape[0] for name, shape in shapes.items() if shape}


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Refuse a file that is not there, and one that is damaged where it is read."""
    if not path.is_file():
        raise not_a_file(path, "name an .npy or .npz file")
    refuse_stand_in(path)
    try:
        yield
    except _DAMAGED as error:
        raise DataError(
            f"{path} is not a readable NumPy file: {error}",
            hint="write it again with numpy.save or numpy.savez",
        ) from error


def listed(arrays: Mapping[str, StoredArray]) -> str:
    """List the names of arrays for a message."""
    return ", ".join(repr(name) for name in sorted(arrays)) or "none"


def _open_npy(path: Path) -> StoredArray:
    return _stored(path.open("rb"))


def _open_npz(path: Path) -> dict[str, StoredArray]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        packed_ones = [m for m in members if m.compress_type != zipfile.ZIP_STORED]
        UNPACKED_BYTES.check(sum(m.file_size for m in packed_ones), f"{path} unpacks to")
        for member in members:
            name = member.filename.removesuffix(".npy")
            if member.compress_type == zipfile.ZIP_STORED:
                file: BinaryIO = path.open("rb")
                file.seek(_data_offset(file, member))
            else:
                file = temporary_file()
                with needs_room(), archive.open(member) as packed:
                    shutil.copyfileobj(packed, file, 1 << 20)
                    file.flush()
                file.seek(0)
            arrays[name] = _stored(file)
    return arrays


def _data_offset(file: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Where the bytes of an uncompressed member begin."""
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER)
    name = int.from_bytes(header[26:28], "little")
    extra = int.from_bytes(header[28:30], "little")
    return member.header_offset + _LOCAL_HEADER + name + extra


def _stored(file: BinaryIO) -> StoredArray:
    """Describe the array whose ``.npy`` header begins at the file's position."""
    start = file.tell()
    shape, fortran_order, dtype = _header(file)
    if fortran_order and len(shape) > 1:
        return _in_c_order(file, start)
    offset = file.tell()
    if os.fstat(file.fileno()).st_size < offset + math.prod(shape) * dtype.itemsize:
        raise ValueError("it is cut short")
    return StoredArray(file, offset, shape, dtype)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The shape of an array, whether it is in Fortran order, and its type."""
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"version {version[0]}.{version[1]} is unknown")
    shape, fortran_order, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects")
    if min(shape, default=0) < 0:
        raise ValueError(f"its shape is {list(shape)}")
    return shape, fortran_order, dtype


def _in_c_order(file: BinaryIO, start: int) -> StoredArray:
    """Write an array in Fortran order, whose rows are scattered, to a temporary file in C order."""
    file.seek(start)
    array = np.lib.format.read_array(file, allow_pickle=False)
    ordered = temporary_file()
    with needs_room():
        ordered.write(np.ascontiguousarray(array).data)
        ordered.flush()
    return StoredArray(ordered, 0, array.shape, array.dtype)
