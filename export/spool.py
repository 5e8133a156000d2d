"""Samples that were read once, kept on disk for the passes after the first."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import numpy as np

from edgeconv.export.samples import Sample


class Spool:
    """A temporary file of batches. To decode an image or to call a user's function again takes
    longer than to read the result back. The file has no name and goes with the process.

    ``whole`` tells that every batch found room within ``limit`` bytes.
    """

    def __init__(self, limit: int) -> None:
        self._room = limit
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open for later passes
        self._layout: list[list[tuple[np.dtype[np.generic], tuple[int, ...]]]] = []
        self.whole = True

    def add(self, batch: Sample) -> None:
        self._room -= sum(array.nbytes for array in batch)
        if self._room < 0:
            self.whole = False
        if not self.whole:
            return
        try:
            for array in batch:
                self._file.write(np.ascontiguousarray(array).data)
        except OSError:  # a full disk: the samples are read again instead
            self.whole = False
        self._layout.append([(array.dtype, array.shape) for array in batch])

    def __iter__(self) -> Iterator[Sample]:
        self._file.seek(0)
        for arrays in self._layout:
            yield tuple(
                np.frombuffer(self._file.read(_size(dtype, shape)), dtype).reshape(shape)
                for dtype, shape in arrays
            )


def _size(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
    return dtype.itemsize * int(np.prod(shape, dtype=np.int64))
