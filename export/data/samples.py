"""What a source of samples is, and which of its samples are taken.

A sample is one array per network input, with a leading dimension of 1: an image is [1, C, H, W].
One run of the network takes as many samples as the common first dimension of its inputs says. Where
the inputs have no common first dimension, as an image [1, C, H, W] and its regions [R, 4], one run
takes one sample: the image as [1, C, H, W], and all regions together as [1, R, 4].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import OPEN, TensorInfo
from edgeconv.errors import NoSamples

Sample = tuple[npt.NDArray[Any], ...]


def batch_size(inputs: Sequence[TensorInfo]) -> int | None:
    """How many samples one run takes; None where the inputs have no common first dimension.

    It is 1 where any number will do.
    """
    firsts = {info.shape[:1] for info in inputs}
    if len(firsts) != 1:
        return None
    (first,) = firsts
    if not first or not first[0]:
        return None
    return 1 if first[0] == OPEN else first[0]


def inputs_of_samples(inputs: Sequence[TensorInfo]) -> tuple[TensorInfo, ...]:
    """Describe the inputs so that everything after the first dimension of a shape is one sample."""
    if batch_size(inputs) is not None:
        return tuple(inputs)
    return tuple(
        info if info.shape[:1] == (1,) else info.model_copy(update={"shape": (1, *info.shape)})
        for info in inputs
    )


class Samples(ABC):
    """A source of samples.

    Attributes:
        source: What the user called it, for messages and the manifest.
        synthetic: Whether the samples are made up.
        pixels: Whether the samples are pixels that preprocessing normalizes.
        skipped: The names of unreadable samples and what is wrong with each, which are added while
            they are read.
        repeats_itself: Whether the samples are surely the same each time; otherwise that is
            checked.
    """

    source: str
    synthetic: bool
    pixels: bool
    skipped: list[str]
    repeats_itself = True

    @abstractmethod
    def in_order(self) -> Iterator[tuple[str, Sample]]:
        """Yield (name, sample) for all that are readable, in the order in which they are taken."""

    @abstractmethod
    def at_most(self, count: int) -> int:
        """The number of samples, if all are readable, or ``count`` if that is less."""


class IndexedSamples(Samples):
    """Samples that can be read in any order. They are taken in a random one, always the same.

    In their own order, the first samples of a folder sorted by class would be of one class.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        """Yield (name, sample) for those of ``indices`` that are readable."""

    def in_order(self) -> Iterator[tuple[str, Sample]]:
        """Yield (name, sample) in a random order, always the same."""
        order = np.random.default_rng(0).permutation(len(self))
        return self.read([int(i) for i in order])

    def at_most(self, count: int) -> int:
        """The number of samples, if all are readable, or ``count`` if that is less."""
        return min(count, len(self))


def choose(samples: Samples, count: int) -> Iterator[tuple[str, Sample]]:
    """Yield (name, sample) for up to ``count`` samples, skipping unreadable ones.

    Raises:
        DataError: No sample is readable.
    """
    taken = 0
    for named in samples.in_order():
        yield named
        taken += 1
        if taken == count:
            return
    if taken == 0:
        raise NoSamples(
            f"{samples.source} holds no usable sample{unread(samples.skipped)}",
            hint="check the files",
        )


def unread(skipped: Sequence[str]) -> str:
    """How many samples could not be used, and why the first could not, in parentheses."""
    if not skipped:
        return ""
    more = "the first: " if len(skipped) > 1 else ""
    return f" ({len(skipped)} could not be used; {more}{skipped[0]})"


Batch = Sequence[npt.NDArray[np.float32]]


class Batches(Protocol):
    """Calibration data. Each ``iter`` is one pass over it, of at most ``len`` batches."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...
