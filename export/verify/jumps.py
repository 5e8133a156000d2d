"""Right float32 files whose values lie far from the network's, because the network jumps there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import Notice
from edgeconv.metrics import relative_error

logger = logging.getLogger(__name__)

# Share of the range of an output. Beyond it, a difference that rounding explains is a jump: the
# networks of the zoo, which have none, are within 1e-4.
_JUMP = 1e-2


def warn_of_jumps(
    path: str,
    runtime: str,
    names: Sequence[str],
    pairs: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]],
) -> None:
    """Warn of outputs in which rounding decides between values far apart.

    The phase of a spectrum is such an output: where an imaginary part is zero but for rounding, its
    sign decides between π and -π, in the network itself as well as in its files.

    Args:
        path: The float32 file, which is right.
        runtime: What computes the network itself.
        names: The names of its outputs.
        pairs: For each output, what the network computes and what the file does.
    """
    for name, (expected, got) in zip(names, pairs, strict=True):
        if expected.dtype.kind != "f" or relative_error(expected, got) <= _JUMP:
            continue
        far = np.abs(got - expected) > _JUMP * (expected.max() - expected.min())
        logger.warning(
            Notice(
                f"{path}: {far.sum()} of the {far.size} elements of output {name!r} are far from "
                f"those of {runtime}, by up to {relative_error(expected, got):.0%} of its range; "
                "rounding in float32 moves the network itself as far",
                "output something that does not jump, such as the real and imaginary part instead "
                "of a phase, or compare only what a jump does not change",
            )
        )
