"""Group samples into the graph's batches, and keep the record of what was fed."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from edgeconv.bundle import Calibration
from edgeconv.errors import DataError
from edgeconv.export.data.checks import InputCheck
from edgeconv.export.data.samples import Sample, Samples, choose

# What later passes read from disk; beyond it they read the source again.
CACHED_BYTES = 256_000_000


class SampleBatches:
    """Up to ``count`` samples, in batches of ``batch``, as many times as they are asked for.

    The last batch is filled up by repeating its own samples, which changes no extreme. The first
    ``keep`` batches of the first pass stay in ``kept``, for verification; ``check`` looks at every
    sample of it. ``shapes`` are those of the network's inputs, where they are not the shapes of
    samples one after another.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        count: int,
        batch: int,
        keep: int = 0,
        check: InputCheck | None = None,
        shapes: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        self.samples = samples
        self._shapes = shapes
        self._check = check
        self._count, self._batch, self._keep = count, batch, keep
        self._recorded = False
        self._spool = BatchCache(0)
        self._names: list[str] = []
        self._digest = hashlib.sha256()
        self.kept: list[Sample] = []

    def __len__(self) -> int:
        """The number of batches, if every sample is readable."""
        return -(-self.samples.at_most(self._count) // self._batch)

    def __iter__(self) -> Iterator[Sample]:
        """One pass.

        Raises:
            DataError: the samples cannot be read, or are not those of the first pass.
        """
        if self._recorded:
            yield from self._spool if self._spool.whole else self._again()
            return
        self.samples.skipped.clear()
        self._names, self._digest, self.kept = [], hashlib.sha256(), []
        self._spool = BatchCache(CACHED_BYTES)
        if self._check is not None:
            self._check.reset()
        for batch in self._batches(self._first_pass()):
            if len(self.kept) < self._keep:
                self.kept.append(batch)
            self._spool.add(batch)
            yield batch
        self._recorded = True

    def _first_pass(self) -> Iterator[Sample]:
        for name, sample in choose(self.samples, self._count):
            self._names.append(name)
            _digest(self._digest, sample)
            if self._check is not None:
                self._check.note(name, sample)
            yield sample

    def _again(self) -> Iterator[Sample]:
        """The same samples once more; what is unreadable stays noted once."""
        skipped = list(self.samples.skipped)
        digest = hashlib.sha256()
        try:
            yield from self._batches(self._digested(digest))
        finally:
            self.samples.skipped[:] = skipped
        if not self.samples.repeats_itself and digest.digest() != self._digest.digest():
            raise DataError(
                f"{self.samples.source} gives other samples each time it is called, and passes "
                "read them several times; seed it"
            )

    def _digested(self, digest: hashlib._Hash) -> Iterator[Sample]:
        for _, sample in choose(self.samples, self._count):
            if not self.samples.repeats_itself:
                _digest(digest, sample)
            yield sample

    def _batches(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        group: list[Sample] = []
        for sample in samples:
            group.append(sample)
            if len(group) == self._batch:
                yield self._joined(group)
                group = []
        if group:
            yield self._joined([group[i % len(group)] for i in range(self._batch)])

    def _joined(self, group: list[Sample]) -> Sample:
        arrays = [np.concatenate(each) for each in zip(*group, strict=True)]
        shapes = self._shapes or [array.shape for array in arrays]
        return tuple(array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True))

    def findings(self) -> list[str]:
        """What looks wrong with the samples, once they were fed."""
        if self._check is None or self.samples.synthetic:
            return []
        return self._check.findings(normalized_here=self.samples.pixels)

    def record(self, method: str) -> Calibration:
        """What the manifest says of the samples, once they were fed."""
        return Calibration(
            source=self.samples.source,
            synthetic=self.samples.synthetic,
            samples=len(self._names),
            names=tuple(self._names),
            skipped=tuple(self.samples.skipped),
            sha256=self._digest.hexdigest(),
            method=method,
        )


def _digest(digest: hashlib._Hash, sample: Sample) -> None:
    for array in sample:
        digest.update(np.ascontiguousarray(array).data)


class BatchCache:
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
