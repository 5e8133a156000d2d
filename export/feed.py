"""Group samples into the graph's batches, and keep the record of what was fed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from edgeconv.bundle import Calibration
from edgeconv.export.data import Sample, Samples, choose


class Feed:
    """Up to ``count`` samples, in batches of ``batch``, as many times as they are asked for.

    The last batch is filled up by repeating its own samples, which changes no range. The first
    ``keep`` batches of the first pass stay in ``kept``, for verification.
    """

    def __init__(self, samples: Samples, *, count: int, batch: int, keep: int) -> None:
        self.samples = samples
        self._count, self._batch, self._keep = count, batch, keep
        self._recorded = False
        self._names: list[str] = []
        self._digest = hashlib.sha256()
        self.kept: list[Sample] = []

    def __len__(self) -> int:
        """The number of batches, if every sample is readable."""
        return -(-min(self._count, len(self.samples)) // self._batch)

    def __iter__(self) -> Iterator[Sample]:
        if self._recorded:
            yield from self._batches()
            return
        self.samples.skipped.clear()
        self._names, self._digest, self.kept = [], hashlib.sha256(), []
        for batch in self._batches(record=True):
            if len(self.kept) < self._keep:
                self.kept.append(batch)
            yield batch
        self._recorded = True

    def _batches(self, *, record: bool = False) -> Iterator[Sample]:
        group: list[Sample] = []
        for name, sample in self._samples():
            if record:
                self._note(name, sample)
            group.append(sample)
            if len(group) == self._batch:
                yield _joined(group)
                group = []
        if group:
            yield _joined([group[i % len(group)] for i in range(self._batch)])

    def _samples(self) -> Iterator[tuple[str, Sample]]:
        """The same samples each time; what is unreadable stays noted once."""
        skipped = list(self.samples.skipped)
        try:
            yield from choose(self.samples, self._count)
        finally:
            if self._recorded:
                self.samples.skipped[:] = skipped

    def _note(self, name: str, sample: Sample) -> None:
        self._names.append(name)
        for array in sample:
            self._digest.update(array.data)

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


def _joined(group: list[Sample]) -> Sample:
    return tuple(np.concatenate(arrays) for arrays in zip(*group, strict=True))
