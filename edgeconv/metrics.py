"""The signal-to-quantization-noise ratio (SQNR) between expected and computed arrays, in dB.

One rule holds everywhere:

- Without any noise the ratio is ``EQUAL_DB``, also where the signal is zero.
- It is ``-EQUAL_DB`` where the noise is NaN or infinite, and where there is noise but no signal.
- Every other ratio, 10 log10(signal / noise), is limited to ±``EQUAL_DB``. Only float32 arrays that
  differ in the last bit of one element in a million come close to that limit.

A ratio is therefore always a finite number, which JSON can hold and which can be averaged.

This module needs only NumPy, because both the exporter and the latency harness use it, and the
harness imports neither PyTorch nor a runtime.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

EQUAL_DB = 200.0
# Under this most of what the network computes is lost.
POOR_SQNR_DB = 10.0
# Stands for a NaN or an infinity among the outputs, which JSON has no number for.
NOT_FINITE = 1e9

Arrays = Sequence[npt.NDArray[Any]]


@dataclass(frozen=True)
class Sqnr:
    """The ratio over some elements; ratios over others can be added to it.

    Attributes:
        signal: The sum of the squares of the expected elements.
        noise: The sum of the squares of the differences.
    """

    signal: float = 0.0
    noise: float = 0.0

    @classmethod
    def between(cls, expected: npt.NDArray[Any], got: npt.NDArray[Any]) -> Sqnr:
        """Compare two arrays of the same shape, in any real dtypes; the sums are in float64."""
        return cls(
            signal=float(np.sum(np.square(expected, dtype=np.float64))),
            noise=float(np.sum(np.square(expected.astype(np.float64) - got))),
        )

    @classmethod
    def of_output(cls, expected: npt.NDArray[Any], got: npt.NDArray[Any]) -> Sqnr:
        """Compare two outputs of a network.

        An element of an integer or boolean output, an index or a condition, is right or wrong: a
        wrong one is noise as large as the signal of a right one. So is all of an output that has
        another number of elements, as a network may choose them by their values.
        """
        if expected.shape != got.shape:
            own = cls.of_output(expected, expected)
            return cls(signal=own.signal, noise=own.signal)
        if expected.dtype.kind == "f":
            return cls.between(expected, got)
        return cls(signal=float(expected.size), noise=float(np.count_nonzero(expected != got)))

    def __add__(self, other: Sqnr) -> Sqnr:
        return Sqnr(self.signal + other.signal, self.noise + other.noise)

    @property
    def db(self) -> float:
        """The ratio in dB, from -EQUAL_DB to EQUAL_DB."""
        if self.noise == 0:
            return EQUAL_DB
        if self.signal == 0 or not np.isfinite(self.noise):
            return -EQUAL_DB
        return float(np.clip(10 * np.log10(self.signal / self.noise), -EQUAL_DB, EQUAL_DB))


def sqnr_db(expected: npt.NDArray[Any], got: npt.NDArray[Any]) -> float:
    """The ratio in dB between two arrays of the same shape."""
    return Sqnr.between(expected, got).db


def relative_error(expected: npt.NDArray[Any], got: npt.NDArray[Any]) -> float:
    """The largest absolute difference over the range of ``expected``; NOT_FINITE for a NaN."""
    if expected.size == 0:
        return 0.0
    spread = float(expected.max()) - float(expected.min()) or float(np.abs(expected).max()) or 1.0
    error = float(np.abs(expected.astype(np.float64) - got).max()) / spread
    return error if np.isfinite(error) else NOT_FINITE


def by_output(batches: Iterable[tuple[Arrays, Arrays]]) -> Iterator[list[Sqnr]]:
    """Compare the outputs of a network, for one batch after the other.

    Args:
        batches: The expected outputs of each batch, and the computed ones. Only one batch has to
            be in memory at a time.

    Yields:
        For each batch, the ratio of each output.
    """
    for expected, got in batches:
        yield [Sqnr.between(a, b) for a, b in zip(expected, got, strict=True)]


def together(ratios: Iterable[Sequence[Sqnr]]) -> list[Sqnr]:
    """Add up the ratios of several batches, output by output."""
    return [sum(output, Sqnr()) for output in zip(*ratios, strict=True)]


def worst_db(batches: Iterable[tuple[Arrays, Arrays]]) -> float:
    """The ratio in dB of the worst output over all batches; EQUAL_DB where nothing is compared.

    Args:
        batches: As :func:`by_output` takes them.
    """
    return min((ratio.db for ratio in together(by_output(batches))), default=EQUAL_DB)


def stacked(arrays: Arrays) -> npt.NDArray[Any]:
    """Stack arrays of one rank; where their shapes differ, smaller ones have zeros behind."""
    shape = tuple(np.max([array.shape for array in arrays], axis=0, initial=0))
    result = np.zeros((len(arrays), *shape), arrays[0].dtype)
    for index, array in enumerate(arrays):
        place: tuple[int | slice, ...] = (index, *(slice(size) for size in array.shape))
        result[place] = array
    return result


@dataclass(frozen=True)
class Spread:
    """How the ratio spreads over samples, each figure that of the worst output.

    Attributes:
        median_db: The ratio of the median sample.
        worst_db: The ratio of the worst sample.
        variation_db: The ratio of the outputs without their mean over the samples, which is what
            depends on the input; None with a single sample, or where no output varies.
    """

    median_db: float
    worst_db: float
    variation_db: float | None

    @classmethod
    def over(cls, expected: Sequence[Arrays], got: Sequence[Arrays]) -> Spread | None:
        """Compare the outputs of each sample; None without any output of real numbers."""
        outputs = [
            (stacked(a), stacked(b))
            for a, b in zip(zip(*expected, strict=True), zip(*got, strict=True), strict=True)
            if a[0].dtype.kind == "f"
        ]
        if not outputs:
            return None
        each = [[sqnr_db(x, y) for x, y in zip(a, b, strict=True)] for a, b in outputs]
        varying = [variation(a, b) for a, b in outputs] if len(expected) > 1 else []
        return cls(
            median_db=min(float(np.median(ratios)) for ratios in each),
            worst_db=min(min(ratios) for ratios in each),
            variation_db=min((ratio.db for ratio in varying if ratio.signal > 0), default=None),
        )


def variation(expected: npt.NDArray[Any], got: npt.NDArray[Any]) -> Sqnr:
    """The ratio with the signal less its mean over samples, which are along the first dimension.

    There have to be two samples or more.
    """
    count = len(expected)
    # The mean of a few samples takes a share of their variance with it.
    signal = float(np.var(expected, axis=0, ddof=1, dtype=np.float64).sum()) * count
    return Sqnr(signal, Sqnr.between(expected, got).noise)
