"""Group samples into the graph's batches, and record which samples were used."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import AccuracyStep, Calibration
from edgeconv.errors import DataError, Notice
from edgeconv.export.data.checks import InputCheck
from edgeconv.export.data.outlying import FALSE_ALARMS, Outlying, find_outlying
from edgeconv.export.data.samples import Sample, Samples, choose
from edgeconv.progress import Progress, no_progress
from edgeconv.scratch import temporary_file

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

    The samples are read once before the first pass. Where they calibrate, some of them are not
    among the batches: those that stand out from all others (outlying.py) are left out, and some are
    held back for verification. The source's further samples are held back if it has more than
    ``count``, or else a quarter of the samples at most.

    The last batch is filled up by repeating its own samples, which changes no extreme value.

    Args:
        samples: Where the samples come from.
        count: How many of them to use at the most.
        batch: How many samples a batch has.
        keep: How many batches to keep for verification.
        check: Looks at every sample.
        shapes: The shapes of the network's inputs, where joining samples along the first dimension
            does not give them.
        calibrating: Whether ranges are found on the samples.

    Attributes:
        kept: The batches for verification, after the first pass: those that were held back, or
            else the first ones.
        outlying: The samples that were left out; complete after :meth:`read`.
        held_out: How many samples were held back; likewise.
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
        calibrating: bool = False,
    ) -> None:
        self.samples = samples
        self._shapes = shapes
        self._check = check
        self._count, self._batch, self._keep = count, batch, keep
        self._calibrating = calibrating and not samples.synthetic
        self._read = count + (keep * batch if calibrating else 0)
        self._scanned = self._recorded = False
        self._spool = BatchCache(0)
        self._scan_digest = hashlib.sha256()
        self._used: dict[int, str] = {}
        self._held: set[int] = set()
        self._digest = ""
        self.kept: list[Sample] = []
        self.outlying: tuple[Outlying, ...] = ()

    @property
    def held_out(self) -> int:
        """How many samples were held back for verification."""
        return len(self._held)

    def __len__(self) -> int:
        """The number of batches."""
        self.read()
        return -(-len(self._used) // self._batch)

    def read(self, progress: Progress = no_progress) -> None:
        """Read all samples, and decide what each of them is for.

        Raises:
            DataError: The samples cannot be read.
        """
        if self._scanned:
            return
        self.samples.skipped.clear()
        self._spool = BatchCache(CACHED_BYTES)
        self._scan_digest = hashlib.sha256()
        if self._check is not None:
            self._check.reset()
        names: list[str] = []
        magnitudes: list[list[float]] = []
        total = self.samples.at_most(self._read)
        progress("Reading samples", 0, total)
        for name, sample in choose(self.samples, self._read):
            names.append(name)
            magnitudes.append([_magnitude(array) for array in sample])
            _digest(self._scan_digest, sample)
            if self._check is not None:
                self._check.note(name, sample, self.samples.source)
            self._spool.add(sample)
            progress("Reading samples", len(names), total)
        self._divide(names, magnitudes)
        self._scanned = True

    def _divide(self, names: list[str], magnitudes: list[list[float]]) -> None:
        found = self._outlying(names, magnitudes) if self._calibrating else {}
        self.outlying = tuple(found.values())
        good = [index for index in range(len(names)) if index not in found]
        held = 0
        if self._read > self._count:
            most = min(self._keep * self._batch, max(len(good) - self._count, len(good) // 4))
            held = most // self._batch * self._batch
        used = good[: len(good) - held][: self._count]
        self._used = {index: names[index] for index in used}
        self._held = set(good[len(good) - held :])

    def _outlying(self, names: list[str], magnitudes: list[list[float]]) -> dict[int, Outlying]:
        found: dict[int, Outlying] = {}
        columns = np.array(magnitudes).T
        for column in columns:
            indices = find_outlying(column.tolist(), FALSE_ALARMS / len(columns))
            usual = float(np.delete(column, indices).max(initial=0.0))
            for index in indices:
                found.setdefault(index, Outlying(names[index], float(column[index]), usual))
        return found

    def __iter__(self) -> Iterator[Sample]:
        """Yield each batch once.

        Raises:
            DataError: The samples cannot be read, or are not those that were read first.
        """
        self.read()
        if self._recorded:
            yield from self._batches(sample for index, sample in self._all() if index in self._used)
            return
        digest = hashlib.sha256()
        held: list[Sample] = []
        kept: list[Sample] = []
        for batch in self._batches(self._first_pass(digest, held)):
            if not self._held and len(kept) < self._keep:
                kept.append(batch)
            yield batch
        self.kept = kept or list(self._batches(iter(held)))
        self._digest = digest.hexdigest()
        self._recorded = True

    def kept_ahead(self) -> list[Sample] | None:
        """The batches for verification before the first pass; None if reading them takes long."""
        self.read()
        if not self._spool.whole:
            return None
        chosen = self._held or set(islice(self._used, self._keep * self._batch))
        return list(self._batches(sample for index, sample in self._all() if index in chosen))

    def _first_pass(self, digest: hashlib._Hash, held: list[Sample]) -> Iterator[Sample]:
        for index, sample in self._all():
            if index in self._held:
                held.append(sample)
            if index in self._used:
                _digest(digest, sample)
                yield sample

    def _all(self) -> Iterator[tuple[int, Sample]]:
        """Yield the samples that were read, again."""
        return enumerate(self._spool if self._spool.whole else self._again())

    def _again(self) -> Iterator[Sample]:
        """Read the same samples again; unreadable samples are recorded only once."""
        skipped = list(self.samples.skipped)
        digest = hashlib.sha256()
        try:
            for _, sample in choose(self.samples, self._read):
                if not self.samples.repeats_itself:
                    _digest(digest, sample)
                yield sample
        finally:
            self.samples.skipped[:] = skipped
        if not self.samples.repeats_itself and digest.digest() != self._scan_digest.digest():
            raise DataError(
                f"{self.samples.source} gives other samples each time, and calibration reads them "
                "several times",
                hint="seed its random numbers",
            )

    def _batches(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        for group in in_groups(samples, self._batch):
            arrays = join(group, self._batch)
            shapes = self._shapes or [array.shape for array in arrays]
            yield tuple(array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True))

    def findings(self) -> list[Notice]:
        """What looks wrong with the samples; complete after :meth:`read`."""
        if self._check is None or self.samples.synthetic:
            return []
        return self._check.findings(normalized_here=self.samples.pixels)

    def record(self, method: str, steps: Sequence[AccuracyStep] = ()) -> Calibration:
        """Describe the samples and what they decided for the manifest, after the first pass."""
        return Calibration(
            source=self.samples.source,
            synthetic=self.samples.synthetic,
            samples=len(self._used),
            names=tuple(self._used.values()),
            skipped=tuple(self.samples.skipped),
            sha256=self._digest,
            method=method,
            outlying=tuple(each.name for each in self.outlying),
            held_out=self.held_out,
            steps=tuple(steps),
        )


def _magnitude(array: npt.NDArray[Any]) -> float:
    """The largest magnitude of a float array; zero for integers, which have no outliers."""
    return float(np.abs(array).max(initial=0.0)) if array.dtype.kind == "f" else 0.0


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
        self._file = temporary_file()  # it stays open for later passes
        weakref.finalize(self, self._file.close)  # or Python warns of a file that stayed open
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
            self._file.flush()
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
