"""The boards that a plan names."""

from __future__ import annotations

import logging

from edgeconv.device.boards import Pool, open_pools
from edgeconv.errors import Notice, UsageError
from edgeconv.sweep.plan import Measures

logger = logging.getLogger(__name__)


def boards_of(measures: Measures) -> list[Pool]:
    """The pools that a plan measures on, of which boards alone are admitted already.

    One repetition cannot show that boards disagree: all boards of a pool are admitted then, with
    a warning.

    Raises:
        UsageError: There is no such device, or it has no latencies.
    """
    found = open_pools(measures.devices)
    for pool in found:
        for board in pool.boards:
            if board.is_emulated:
                raise UsageError(
                    f"measure.devices: {board.name} is emulated, and has no latencies",
                    hint="name it below [count]",
                )
        alone = len(pool.boards) == 1
        if alone or measures.repetitions == 1:
            pool.admit_all()
        if not alone and measures.repetitions == 1:
            logger.warning(
                Notice(
                    f"the boards of {pool.name} are not compared: one repetition shows no noise",
                    "raise measure.repetitions",
                ),
            )
    return found
