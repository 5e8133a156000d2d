"""Rounding of channel counts under a width multiplier."""

from __future__ import annotations


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Return the nearest multiple of ``divisor``, at least ``divisor``, and at most a tenth below.

    SIMD kernels handle channels in groups of 8. Sandler et al. 2018 (arXiv:1801.04381) use this
    rule throughout the MobileNets.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
