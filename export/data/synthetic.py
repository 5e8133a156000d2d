"""Synthetic inputs with structure, for networks whose data is not at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Layout, TensorInfo
from edgeconv.errors import EdgeconvError, attempted
from edgeconv.export.data.integer_ranges import FLAGS, IntegerRange
from edgeconv.export.data.preprocess import image_size
from edgeconv.export.data.samples import IndexedSamples, Sample
from edgeconv.export.data.there import SYNTHETIC
from edgeconv.models.randomize import structured_input

Outputs = Sequence[npt.NDArray[Any]]

_FLAGS = IntegerRange(FLAGS)
_TINY, _LARGE = 1e-6, 1e3
_PROBES = ("with zeros, ones and halves", "a millionth as large", "a thousand times as large")
_MOST_TUPLES = 1 << 20
# More than are drawn evenly: the rows of a table are, and bytes.
_EVEN = 1 << 20


class Domain(Enum):
    """Which reals synthetic inputs are drawn from, for a network that takes no others."""

    REAL = "real"
    UNIT = "from 0 to 1"
    SYMMETRIC = "from -1 to 1"
    ABOVE_ONE = "from 1 to 2"
    BYTES = "from 0 to 255"

    def map(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Map values about zero into the domain, smoothly."""
        if self is Domain.REAL:
            return x
        if self is Domain.SYMMETRIC:
            return np.asarray(np.tanh(x))
        if self is Domain.BYTES:
            return np.asarray(np.rint(127.5 * (1 + np.tanh(x))), x.dtype)
        unit: npt.NDArray[Any] = (0.5 * (1 + np.tanh(x))).astype(x.dtype)
        return unit if self is Domain.UNIT else unit + 1


_TRIED = (Domain.REAL, Domain.UNIT, Domain.SYMMETRIC, Domain.ABOVE_ONE)


class SyntheticSamples(IndexedSamples):
    """Seeded inputs with structure.

    Args:
        inputs: What the network takes.
        ranges: What integers are drawn from, by the name of the input; flags where it is absent.
        domain: What reals are drawn from.
    """

    source = SYNTHETIC
    synthetic = True
    pixels = False

    def __init__(
        self,
        inputs: Sequence[TensorInfo],
        ranges: Mapping[str, IntegerRange] | None = None,
        domain: Domain = Domain.REAL,
    ) -> None:
        self.inputs, self._ranges, self.domain = inputs, ranges or {}, domain
        self.skipped: list[str] = []

    def __len__(self) -> int:
        return 1 << 16

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        """Make the samples of ``indices``, each from seeds of its own."""
        for index in indices:
            yield str(index), self.sample(index)

    def sample(self, index: int) -> Sample:
        """Make one sample, [1, …] per input."""
        # Inputs of one sample differ: their seeds never meet those of another sample.
        seeds = (index * len(self.inputs) + i for i in range(len(self.inputs)))
        return tuple(
            synthetic_input(info, seed, self._ranges.get(info.name, _FLAGS), self.domain)
            for info, seed in zip(self.inputs, seeds, strict=True)
        )


def find_domain(outputs_on: Callable[[Domain], Outputs]) -> Domain:
    """Find the first domain on which the network's outputs are finite numbers.

    A network that begins with a logarithm or a square root gives NaN for negative inputs, and one
    that checks its inputs, as ``F.binary_cross_entropy`` does, fails on them.

    Args:
        outputs_on: Runs the network on a synthetic sample of a domain.

    Returns:
        That domain, or the first one that the network takes where the outputs are finite on none.

    Raises:
        EdgeconvError: The network fails on all of them, as it does on REAL.
    """
    failures: list[EdgeconvError] = []
    taken: list[Domain] = []
    for domain in _TRIED:
        outputs = attempted(partial(outputs_on, domain))
        if isinstance(outputs, EdgeconvError):
            failures.append(outputs)
            continue
        if all(np.isfinite(array).all() for array in outputs):
            return domain
        taken.append(domain)
    if not taken:
        raise failures[0]
    return taken[0]


def probes(sample: Sample) -> dict[str, Sample]:
    """Make samples that show what typical values hide, such as an epsilon that is lost.

    Returns:
        ``sample`` with zeros, ones and halves in the place of three eighths of its floats; all of
        its floats very small; and all of them very large. The keys say so in words.
    """
    rows: list[list[npt.NDArray[Any]]] = [[], [], []]
    for array in sample:
        if array.dtype.kind != "f":
            for row in rows:
                row.append(array)
            continue
        patched = array.copy()
        eighth = max(1, -(-patched.size // 8))
        for place, value in enumerate((0.0, 1.0, 0.5)):
            patched.reshape(-1)[place * eighth : (place + 1) * eighth] = value
        rows[0].append(patched)
        rows[1].append((array * _TINY).astype(array.dtype))
        rows[2].append((array * _LARGE).astype(array.dtype))
    return dict(zip(_PROBES, map(tuple, rows), strict=True))


def synthetic_input(
    info: TensorInfo,
    seed: int,
    integers: IntegerRange = _FLAGS,
    domain: Domain = Domain.REAL,
) -> npt.NDArray[Any]:
    """Make one sample [1, …] for an input: smooth fields and noise, or integers."""
    shape = (1, *info.shape[1:])
    if np.dtype(info.dtype).kind != "f":
        return _integers(shape, seed, integers).astype(info.dtype)
    if info.layout is Layout.NHWC and 0 not in shape:
        image = structured_input((1, *image_size(info)), seed).numpy().astype(info.dtype)
        reals = np.moveaxis(image, 1, -1)
    elif 2 <= len(shape) <= 4 and 0 not in shape:
        reals = structured_input(shape, seed).numpy().astype(info.dtype)
    else:
        reals = np.random.default_rng(seed).standard_normal(shape).astype(info.dtype)
    return domain.map(reals)


def _integers(shape: tuple[int, ...], seed: int, integers: IntegerRange) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    values, count = integers.values, int(np.prod(shape))
    if integers.distinct and 0 < count <= len(values):
        return rng.permutation(values)[:count].reshape(shape)
    rows, length = count // max(shape[-1], 1), shape[-1]
    if integers.distinct and 0 < rows <= len(values) ** length:
        # Index tuples: different numbers in the base of the size, digit by digit.
        chosen = rng.choice(min(len(values) ** length, _MOST_TUPLES), rows, replace=False)
        digits = np.unravel_index(chosen, (len(values),) * length)
        return (np.stack(digits, axis=-1) + values.start).reshape(shape)
    if len(values) <= _EVEN:
        return rng.integers(values.start, values.stop, shape)
    # Small integers are as likely as large ones, which a uniform choice would nearly always take.
    sizes = 2.0 ** rng.uniform(0, np.log2(values[-1] + 1), shape)
    signs = rng.choice([-1, 1] if values.start < 0 else [1], shape)
    drawn: npt.NDArray[np.int64] = np.maximum(signs * (sizes - 1).astype(np.int64), values.start)
    return drawn
