"""Padding that keeps the size of a map."""

from __future__ import annotations


def same_padding(kernel_size: int) -> int:
    """Return the zeros on each side that keep the size under a kernel of this odd side.

    Raises:
        ValueError: The kernel is even, so that it has no pixel in its middle, or has no size.
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"the side of a kernel must be odd here, not {kernel_size}")
    return kernel_size // 2
