"""Ridge regression with several ridges on the same data."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


class RidgeRegression:
    """The problem y = x w, for G groups of S rows with D inputs and O outputs.

    The ridge draws w to zero. It is relative to the variance of each input, so that no input's
    scale matters.

    Args:
        x: The inputs, [G, S, D].
        y: The outputs, [G, S, O].
    """

    def __init__(self, x: Array, y: Array) -> None:
        spread = np.sqrt(np.square(x).sum(axis=1, keepdims=True))
        self._inverse = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
        x = x * self._inverse
        transposed = x.swapaxes(1, 2)
        # With fewer rows than inputs, the smaller system is that of the rows.
        self._by_rows = transposed if x.shape[1] < x.shape[2] else None
        self._products = transposed @ x if self._by_rows is None else x @ transposed
        self._right = transposed @ y if self._by_rows is None else y

    def solve(self, ridge: float) -> Array:
        """Find w, [G, O, D]."""
        system = self._products + ridge * np.eye(self._products.shape[1])
        solved = np.linalg.solve(system, self._right)
        if self._by_rows is not None:
            solved = self._by_rows @ solved
        weight: Array = (solved.swapaxes(1, 2) * self._inverse).astype(np.float32)
        return weight
