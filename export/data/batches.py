"""Group samples into the graph's batches, and record which samples were used."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np

from edgeconv.bundle import Calibration
from edgeconv.errors import DataError
from edgeconv.export.data.checks import InputCheck
from edgeconv.export.data.samples import Sample, Samples, choose

# Later passes over at most so many bytes read them from a cache, or else from the source again.
CACHED_BYTES = 256_000_000


T = TypeVar("T")


def in_groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of ``size`` items; the last one has what is left."""
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group


def join(samples: Sequence[Sample], batch: int) -> Sample:
    """Join samples to a batch along the first dimension, repeating them if they are too few."""
    filled = [samples[index % len(samples)] for index in range(batch)]
    return tuple(np.concatenate(arrays) for arrays in zip(*filled, strict=True))


class SampleBatches:
    """Batches of samples, for as many passes as calibration needs.

    The last batch is filled up by repeating its own samples, which changes no extreme value.

    Args:
        samples: Where the samples come from.
        count: How many of them to use at the most.
        batch: How many samples a batch has.
        keep: How many batches of the first pass to keep for verification.
        check: Looks at every sample of the first pass.
        shapes: The shapes of the network's inputs, where joining samples along the first dimension
            does not give them.

    Attributes:
        kept: The first ``keep`` batches.
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
        """The number of batches, if all samples are readable."""
        return -(-self.samples.at_most(self._count) // self._batch)

    def __iter__(self) -> Iterator[Sample]:
        """Yield each batch once.

        Raises:
            DataError: The samples cannot be read, or are not those of the first pass.
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
        """Yield the same batches again; unreadable samples are recorded only once."""
        skipped = list(self.samples.skipped)
        digest = hashlib.sha256()
        try:
            yield from self._batches(self._digested(digest))
        finally:
            self.samples.skipped[:] = skipped
        if not self.samples.repeats_itself and digest.digest() != self._digest.digest():
            raise DataError(
                f"{self.samples.source} gives other samples each time, and calibration reads them "
                "several times",
                hint="seed its random numbers",
            )

    def _digested(self, digest: hashlib._Hash) -> Iterator[Sample]:
        for _, sample in choose(self.samples, self._count):
            if not self.samples.repeats_itself:
                _digest(digest, sample)
            yield sample

    def _batches(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        for group in in_groups(samples, self._batch):
            arrays = join(group, self._batch)
            shapes = self._shapes or [array.shape for array in arrays]
            yield tuple(array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True))

    def findings(self) -> list[str]:
        """What looks wrong with the samples, one line each; complete after the first pass."""
        if self._check is None or self.samples.synthetic:
            return []
        return self._check.findings(normalized_here=self.samples.pixels)

    def record(self, method: str) -> Calibration:
        """Describe the samples for the manifest; complete after the first pass."""
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
    """A temporary file of batches, without a name, that ends with the process.

    Reading it is faster than decoding the images or calling the user's function again.

    Args:
        limit: How many bytes it may hold.

    Attributes:
        whole: Whether it holds every batch that was added.
    """

    def __init__(self, limit: int) -> None:
        self._room = limit
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open for later passes
        self._layout: list[list[tuple[np.dtype[np.generic], tuple[int, ...]]]] = []
        self.whole = True

    def add(self, batch: Sample) -> None:
        """Store a batch, if the limit and the disk have room for it."""
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
