"""The shape of one input in whole, where a height and a width do not say it."""

from __future__ import annotations


class InputShape(tuple[int, ...]):
    """An input size that is the input's whole shape, batch first, and used as it is:
    ``InputShape((1, 12, 8))``.
    """

    @property
    def batch(self) -> int:
        return self[0]

    @property
    def sample(self) -> tuple[int, ...]:
        """What follows the batch."""
        return self[1:]
