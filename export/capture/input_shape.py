"""The whole shape of one input, for inputs that a height and a width do not describe."""

from __future__ import annotations


class InputShape(tuple[int, ...]):
    """An input size that is the whole shape of the input, batch first: ``InputShape((1, 12, 8))``.

    Nothing is added to it, unlike to a plain tuple of sizes.
    """

    @property
    def batch(self) -> int:
        """The first dimension."""
        return self[0]

    @property
    def sample(self) -> tuple[int, ...]:
        """The dimensions after the batch."""
        return self[1:]
