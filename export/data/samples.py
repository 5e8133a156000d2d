"""What a source of samples is, and which of its samples are taken.

A sample is one array a network input, with a leading dimension of 1: images are [1, C, H, W]. So
many samples as the inputs' common first dimension says make up one run of the network. Where the
inputs have none in common, as in an image [1, C, H, W] with its regions [R, 4], one sample is one
run: the image is [1, C, H, W] and the regions, taken whole, [1, R, 4].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import TensorInfo
from edgeconv.errors import DataError

Sample = tuple[npt.NDArray[Any], ...]


def batch_size(inputs: Sequence[TensorInfo]) -> int | None:
    """How many samples make up one run; None where the inputs have no first dimension in common."""
    firsts = {info.shape[:1] for info in inputs}
    if len(firsts) != 1:
        return None
    (first,) = firsts
    return first[0] if first and first[0] else None


def inputs_of_samples(inputs: Sequence[TensorInfo]) -> tuple[TensorInfo, ...]:
    """The network's inputs with shapes of which everything after the first dimension is one
    sample.
    """
    if batch_size(inputs) is not None:
        return tuple(inputs)
    return tuple(
        info if info.shape[:1] == (1,) else info.model_copy(update={"shape": (1, *info.shape)})
        for info in inputs
    )


class Samples(ABC):
    """A source of samples.

    Attributes:
        pixels: preprocessing is applied to what it holds.
        skipped: fills up with the names of unreadable samples while iterating.
        repeats_itself: it gives the same samples each time, and nobody need make sure.
    """

    source: str
    synthetic: bool
    pixels: bool
    skipped: list[str]
    repeats_itself = True

    @abstractmethod
    def in_order(self) -> Iterator[tuple[str, Sample]]:
        """Yield (name, sample) for the readable ones, in the order in which they are taken."""

    @abstractmethod
    def at_most(self, count: int) -> int:
        """How many of ``count`` wanted samples there may be."""


class IndexedSamples(Samples):
    """Samples that can be read in any order: they are taken in a seeded one.

    A folder sorted by class would otherwise give the first classes alone.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        """Yield (name, sample) for the readable ones of ``indices``."""

    def in_order(self) -> Iterator[tuple[str, Sample]]:
        order = np.random.default_rng(0).permutation(len(self))
        return self.read([int(i) for i in order])

    def at_most(self, count: int) -> int:
        return min(count, len(self))


def choose(samples: Samples, count: int) -> Iterator[tuple[str, Sample]]:
    """Yield up to ``count`` samples; unreadable ones are replaced by others."""
    taken = 0
    for named in samples.in_order():
        yield named
        taken += 1
        if taken == count:
            return
    if taken == 0:
        bad = f"; {len(samples.skipped)} could not be read" if samples.skipped else ""
        raise DataError(f"{samples.source} holds no usable sample{bad}")


Batch = Sequence[npt.NDArray[np.float32]]


class Batches(Protocol):
    """Calibration data: one pass over it an ``iter``, each of at most ``len`` batches."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...
