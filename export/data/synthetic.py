"""Synthetic inputs with structure, for networks whose data is not at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import TensorInfo
from edgeconv.export.data.integer_ranges import FLAGS
from edgeconv.export.data.samples import IndexedSamples, Sample
from edgeconv.models.randomize import structured_input

SYNTHETIC = "random"


class SyntheticSamples(IndexedSamples):
    """Seeded inputs with structure, for networks whose data is not at hand."""

    source = SYNTHETIC
    synthetic = True
    pixels = False

    def __init__(
        self, inputs: Sequence[TensorInfo], spans: Mapping[str, range] | None = None
    ) -> None:
        self.inputs, self._spans = inputs, spans or {}
        self.skipped: list[str] = []

    def __len__(self) -> int:
        return 1 << 16

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        for index in indices:
            # Inputs of one sample differ: their seeds never meet those of another sample.
            seeds = (index * len(self.inputs) + i for i in range(len(self.inputs)))
            sample = (
                synthetic_input(info, s, self._spans.get(info.name, FLAGS))
                for info, s in zip(self.inputs, seeds, strict=True)
            )
            yield str(index), tuple(sample)


def synthetic_input(info: TensorInfo, seed: int, span: range = FLAGS) -> npt.NDArray[Any]:
    """One sample [1, …] for an input: smooth fields and noise; for integers, values of ``span``."""
    shape = (1, *info.shape[1:])
    if np.dtype(info.dtype).kind != "f":
        integers = np.random.default_rng(seed).integers(span.start, span.stop, shape)
        return integers.astype(info.dtype)
    if 2 <= len(shape) <= 4 and 0 not in shape:
        return structured_input(shape, seed).numpy().astype(info.dtype)
    return np.random.default_rng(seed).standard_normal(shape).astype(info.dtype)
