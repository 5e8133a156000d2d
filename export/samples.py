"""What a source of samples is, and which of its samples are taken.

A sample is one array a network input, with a leading dimension of 1: images are [1, C, H, W].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError

Sample = tuple[npt.NDArray[Any], ...]


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
