"""The best five classes of a file, in the order in which the network itself ranks them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Outputs = list[npt.NDArray[Any]]


def as_ranked(got: Outputs, expected: Outputs) -> Outputs:
    """Classes and probabilities of a file, each class where the network has it.

    Two classes that are about as good may change places, and that is no more of an error than the
    difference of their probabilities. A class of the network that the file does not name has the
    probability zero; the other classes that the file names take the places that are left.

    Args:
        got: The indices of the classes of each sample, and their probabilities, by the file.
        expected: The same, by the network.
    """
    classes, probabilities = (np.empty_like(array) for array in got)
    for row, (ours, theirs) in enumerate(zip(got[0], expected[0], strict=True)):
        same = theirs[:, None] == ours[None, :]
        named, places = same.any(1), same.argmax(1)
        classes[row][named] = ours[places[named]]
        rest = np.delete(ours, places[named])
        classes[row][~named] = rest[: np.count_nonzero(~named)]
        probabilities[row] = np.where(named, got[1][row][places], 0)
    return [classes, probabilities]
