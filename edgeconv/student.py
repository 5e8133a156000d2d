"""Student's t distribution, for intervals of means over few values."""

from __future__ import annotations

import functools
import math


@functools.lru_cache(maxsize=4096)
def student(confidence: float, degrees: int) -> float:
    """The bound that Student's t stays within, on both sides, with that confidence.

    The distribution function of a whole number of degrees is a finite sum (Abramowitz and Stegun,
    "Handbook of Mathematical Functions", 26.7.3 and 26.7.4).
    """
    low, high = 0.0, math.pi / 2
    while high - low > 1e-13:
        angle = (low + high) / 2
        if _within(angle, degrees) < confidence:
            low = angle
        else:
            high = angle
    return math.sqrt(degrees) * math.tan(low)


def _within(angle: float, degrees: int) -> float:
    """The probability of |t| < sqrt(degrees) tan(angle)."""
    cosine, odd = math.cos(angle), degrees % 2
    term = total = 1.0 if not odd else cosine
    if degrees == 1:
        return 2 * angle / math.pi
    for k in range(1 + odd, degrees - 2, 2):
        term *= cosine**2 * k / (k + 1)
        total += term
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
