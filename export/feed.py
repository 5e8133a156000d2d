"""Group samples into the graph's batches, and keep the record of what was fed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from edgeconv.bundle import Calibration
from edgeconv.export.data import Sample, Samples, choose


class Feed:
    """One pass over up to ``count`` samples, in batches of ``batch``.

    The last batch is filled up by repeating its own samples, which changes no range. The first
    ``keep`` batches stay in ``kept``, for verification.
    """

    def __init__(self, samples: Samples, *, count: int, batch: int, keep: int) -> None:
        self.samples = samples
        self._count, self._batch, self._keep = count, batch, keep
        self._names: list[str] = []
        self._digest = hashlib.sha256()
        self.kept: list[Sample] = []

    @property
    def total(self) -> int:
        """The number of batches, if every sample is readable."""
        return -(-min(self._count, len(self.samples)) // self._batch)

    def batches(self) -> Iterator[Sample]:
        group: list[Sample] = []
        for name, sample in choose(self.samples, self._count):
            self._names.append(name)
            for array in sample:
                self._digest.update(array.data)
            group.append(sample)
            if len(group) == self._batch:
                yield self._emit(group)
                group = []
        if group:
            yield self._emit([group[i % len(group)] for i in range(self._batch)])

    def _emit(self, group: list[Sample]) -> Sample:
        batch = tuple(np.concatenate(arrays) for arrays in zip(*group, strict=True))
        if len(self.kept) < self._keep:
            self.kept.append(batch)
        return batch

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
