"""Sums of float64 numbers that are exact, so that neither their order nor their grouping matters.

A number is a whole number of units of 2**-298, the square of the least float32 above zero. Its
mantissa is added to the places of a long number, as by Kulisch's accumulators (U. Kulisch, "Very
fast and exact accumulation of products", Computing 91, 2011). A place has 16 bits of weight and 64
bits of room, so that nothing has to be carried.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

_UNIT = 298
_WEIGHT = 16  # bits from one place to the next
_LOWER = 27  # bits of a mantissa that are added to one place, the other 26 to another
_MANTISSA = 53
# Squares of float32 are below 2**256, and a sample has fewer than 2**44 of them.
_LARGEST = 300
_PLACES = (_UNIT + _LARGEST) // _WEIGHT + 1


def exact(numbers: Float64) -> Int64:
    """Add up numbers that are zero or more, exactly.

    Args:
        numbers: The numbers, [N, C], below 2**300. What is below 2**-298 is cut off.

    Returns:
        The sum over N as the places of a long number, [places, C]. Such sums may be added, as long
        as no more than a million numbers were.
    """
    places = no_sums(numbers.shape[1])
    add_exactly(places, numbers)
    return places


def no_sums(count: int) -> Int64:
    """The places of so many sums of nothing, [places, C]."""
    return np.zeros((_PLACES, count), np.int64)


def add_exactly(places: Int64, numbers: Float64) -> None:
    """Add numbers to sums in place.

    Args:
        places: The places of the sums, [places, C], contiguous.
        numbers: As of :func:`exact`, [N, C].
    """
    mantissas, exponents = np.frexp(numbers)
    whole = np.ldexp(mantissas, _MANTISSA).astype(np.int64)
    first = exponents.astype(np.int64) + (_UNIT - _MANTISSA)  # the weight of a mantissa's last bit
    whole >>= np.clip(-first, 0, 63)
    first = np.maximum(first, 0)
    flat, channels = places.reshape(-1), np.arange(numbers.shape[1])
    for part, at in ((whole & ((1 << _LOWER) - 1), first), (whole >> _LOWER, first + _LOWER)):
        # By the index of the flat array: it takes a third of the time of two indices.
        indices = at // _WEIGHT * numbers.shape[1] + channels
        for index, value in zip(indices, part << (at % _WEIGHT), strict=True):
            flat[index] += value


def rounded(places: Int64) -> Float64:
    """The float64 of sums, [C], from their places, [places, C]."""
    weights = np.arange(len(places)) * _WEIGHT - _UNIT
    found: Float64 = np.ldexp(places.astype(np.float64), weights[:, None]).sum(axis=0)
    return found
