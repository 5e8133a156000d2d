"""What becomes of a batch that was not asked for: that of an example, or an open one."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from edgeconv.errors import Notice

logger = logging.getLogger(__name__)


def warn_of_batch(shapes: Sequence[tuple[int, ...]]) -> None:
    """Warn of an example of several samples, whose number the files then take."""
    firsts = {shape[:1] for shape in shapes if len(shape) > 1}
    if len(firsts) == 1 and (first := next(iter(firsts))[0]) > 1:
        logger.warning(
            Notice(
                f"the first dimension of the example is {first}, so the files take {first} samples "
                "at once",
                "give an example of one sample, or pass --dynamic-batch for files of any batch "
                "size",
            )
        )


def warn_of_open_batch(spec: str, inputs: Sequence[str]) -> None:
    """Warn of inputs whose open first dimension is 1 in the files."""
    logger.warning(
        Notice(
            f"{spec} leaves the first dimension of {', '.join(map(repr, inputs))} open; it "
            "is 1 in the files",
            "pass --batch for another, or --dynamic-batch for files of any batch size",
        )
    )
