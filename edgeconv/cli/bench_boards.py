"""The boards that a command may use, and the next free one of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from edgeconv.device.boards import Board, Pool, open_pools
from edgeconv.device.dispatch import LOOK_SECONDS, Dispatcher, Failure, Measurement
from edgeconv.errors import BusyDevice, EdgeconvError, Notice, UsageError, attempted

logger = logging.getLogger(__name__)

R = TypeVar("R")


def pools_named(devices: Sequence[str]) -> list[Pool]:
    """The devices and pools of these names; any board of a pool may measure.

    Raises:
        UsageError: There is no such device, or an emulated one is in a pool.
    """
    found = open_pools(devices)
    for pool in found:
        emulated = [board for board in pool.boards if board.is_emulated]
        if emulated and len(pool.boards) > 1:
            raise UsageError(
                f"{emulated[0].name} of the pool {pool.name} is emulated, and has no latencies",
                hint="name it itself with --device",
            )
        pool.admit_all()
    return found


def on_the_next_free(pool: Pool, wait_seconds: float, measure: Callable[[Board], R]) -> R:
    """Measure once, on the next free board; where it fails, on another one.

    Args:
        pool: The boards.
        wait_seconds: How long to wait while others use all of them.
        measure: Measures on a board.

    Raises:
        BusyDevice: Others used all boards for so long.
        EdgeconvError: It failed on all of them; the message is that of the last one.
    """
    boards = Dispatcher[None](wait_seconds)
    boards.add(Measurement(None, pool))
    while True:
        for measurement, board in boards.start():
            outcome = attempted(partial(measure, board))
            if not isinstance(outcome, EdgeconvError):
                return outcome
            failure = Failure.of(outcome)
            final = boards.ended(measurement, board, failure)
            if final is None:
                warn_of_another_board(pool, failure)
            elif final.busy:
                raise BusyDevice(final.message, final.hint) from outcome
            else:
                raise outcome
        time.sleep(LOOK_SECONDS)


def warn_of_another_board(pool: Pool, failure: Failure) -> None:
    """Say why another board of the pool measures, unless the first was only in use by others."""
    if not failure.busy:
        message = f"{failure.message}; another board of {pool.name} measures instead"
        logger.warning(Notice(message, failure.hint))
