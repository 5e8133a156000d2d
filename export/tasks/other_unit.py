"""Whether targets seem to be in another unit than a network's numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeconv.errors import Notice

Sums = npt.NDArray[np.float64]

# With fewer samples, a line fits by chance.
_FEWEST_SAMPLES = 10
# The share of the targets' variance that the line has to explain, while the numbers themselves are
# farther away than the mean of the targets is.
_LEAST_EXPLAINED = 0.9


def sums(got: Sums, wanted: Sums) -> list[float]:
    """What ``doubt_of_unit`` needs of the numbers [K] of one sample and its targets [K]."""
    return [
        float(got.size),
        math.fsum(got),
        math.fsum(wanted),
        math.fsum(np.square(got)),
        math.fsum(got * wanted),
        math.fsum(np.square(wanted)),
    ]


@dataclass(frozen=True)
class _Line:
    """Targets as a line of the network's numbers: ``factor`` times each, plus ``offset``."""

    factor: float
    offset: float


def _line(of_samples: Sums) -> _Line | None:
    """The line, if the targets lie near it and far from the numbers themselves."""
    count, got, wanted, got_squares, products, wanted_squares = map(math.fsum, of_samples.T)
    spread = got_squares - got * got / count
    spread_wanted = wanted_squares - wanted * wanted / count
    together = products - got * wanted / count
    error = got_squares - 2 * products + wanted_squares
    # What is left of squares so much larger is rounding.
    if spread <= 1e-9 * got_squares or spread_wanted <= 1e-9 * wanted_squares:
        return None
    if error <= spread_wanted or together**2 < _LEAST_EXPLAINED * spread * spread_wanted:
        return None
    factor = together / spread
    return _Line(factor, (wanted - factor * got) / count)


def doubt_of_unit(of_samples: Sums) -> Notice | None:
    """What to say of targets that follow the network's numbers, but in another unit.

    Args:
        of_samples: What ``sums`` gives for each sample [N, 6].
    """
    if len(of_samples) < _FEWEST_SAMPLES:
        return None
    line = _line(of_samples)
    if line is None:
        return None
    sign = "-" if line.offset < 0 else "+"
    return Notice(
        "'y' seems to be in another unit than the output: it is nearly the output × "
        f"{line.factor:.3g} {sign} {abs(line.offset):.3g}",
        "store 'y' in the unit of the output, normalized as in training",
    )
