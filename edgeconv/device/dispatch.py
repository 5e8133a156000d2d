"""Give measurements to boards: one at a time on each, and a board in use by others is waited for.

How a measurement runs is the caller's: it takes the pairs of ``start``, and says with ``ended``
what came of each.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from edgeconv.device.boards import Board, Pool
from edgeconv.errors import BusyDevice, EdgeconvError
from edgeconv.units import format_duration

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5  # between two looks at boards that are used by others
LOOK_AGAIN_SECONDS = 5.0  # at a board that someone else measures on

T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """Why something was not done.

    Attributes:
        message: What happened.
        hint: What to do about it.
        busy: Whether it will do later: someone else measures on the board.
    """

    message: str
    hint: str = ""
    busy: bool = False

    @classmethod
    def of(cls, error: EdgeconvError) -> Failure:
        """What an error says."""
        return cls(error.message, error.hint, busy=isinstance(error, BusyDevice))


@dataclass(frozen=True)
class Measurement(Generic[T]):
    """A measurement that waits for a board of a pool.

    Attributes:
        what: What is measured.
        pool: Where it may run.
        tried: The boards on which it failed.
        waiting_since: Since when others use all its boards; None if they do not.
        only: The board that it is for; None is any that agrees with the others of the pool.
    """

    what: T
    pool: Pool
    tried: tuple[str, ...] = ()
    waiting_since: float | None = None
    only: Board | None = None

    @property
    def boards_left(self) -> list[Board]:
        """The boards that may still do it."""
        left = self.pool.left(self.tried)
        return left if self.only is None else [board for board in left if board is self.only]

    def suits(self, board: Board) -> bool:
        """Whether it may run on one of these boards already."""
        return self.only is not None or board.name in (self.pool.admitted or ())


def _busy_since(board: Board) -> float:
    """The order in which boards are asked, so that a slow machine does not ask one for ever.

    Those that others used come last, and of them first the one that was asked longest ago.
    """
    return board.rests_until if board.was_busy else 0.0


class Dispatcher(Generic[T]):
    """Gives measurements to boards.

    Args:
        wait_seconds: How long a measurement waits while others use all its boards.
        clock: Gives the time in seconds.
    """

    def __init__(self, wait_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._wait_seconds, self._clock = wait_seconds, clock
        self._waiting: deque[Measurement[T]] = deque()
        self._here: Board | None = None

    @property
    def waiting(self) -> tuple[Measurement[T], ...]:
        """The measurements that have no board yet."""
        return tuple(self._waiting)

    def __len__(self) -> int:
        """How many they are."""
        return len(self._waiting)

    def add(self, measurement: Measurement[T]) -> None:
        """Have a measurement wait for a board."""
        self._waiting.append(measurement)

    def keep(self, wanted: Callable[[Measurement[T]], bool]) -> None:
        """Drop what waits and is not wanted any more."""
        self._waiting = deque(each for each in tuple(self._waiting) if wanted(each))

    def without_board(self) -> list[Measurement[T]]:
        """Take the measurements for which no board is left."""
        stranded = [each for each in self._waiting if not each.boards_left]
        self.keep(lambda each: bool(each.boards_left))
        return stranded

    def start(
        self, quiet: Callable[[], bool] = lambda: True
    ) -> Iterator[tuple[Measurement[T], Board]]:
        """Take a free board for every measurement that has one.

        Args:
            quiet: Whether this machine may measure itself now. It measures one thing at a time
                even so.
        """
        for _ in range(len(self._waiting)):
            if not self._waiting:  # what came of another one settled it
                return
            measurement = self._waiting.popleft()
            board = self._free(measurement, quiet())
            if board is None:
                self._waiting.append(measurement)
                continue
            board.taken = True
            if board.is_here:
                self._here = board
            yield measurement, board

    def _free(self, measurement: Measurement[T], quiet: bool) -> Board | None:
        now = self._clock()
        for board in sorted(measurement.boards_left, key=_busy_since):
            rests = board.taken or board.rests_until > now
            may_be_here = quiet and self._here is None
            if measurement.suits(board) and not rests and (may_be_here or not board.is_here):
                return board
        return None

    def ended(
        self, measurement: Measurement[T], board: Board, failure: Failure | None
    ) -> Failure | None:
        """Free the board of a measurement. One that failed may wait for another board again.

        Returns:
            Why no board measures it any more; None if it was measured, or waits again.
        """
        board.taken = False
        if board is self._here:
            self._here = None
        board.was_busy = failure is not None and failure.busy
        if failure is None:
            return None
        if failure.busy:
            return self._in_use(measurement, board, failure)
        tried = replace(measurement, tried=(*measurement.tried, board.name))
        if not tried.boards_left:
            return failure
        self.add(tried)
        return None

    def _in_use(
        self, measurement: Measurement[T], board: Board, failure: Failure
    ) -> Failure | None:
        now = self._clock()
        board.rests_until = now + LOOK_AGAIN_SECONDS
        if any(each.taken or not each.was_busy for each in measurement.boards_left):
            self.add(replace(measurement, waiting_since=None))
            return None
        since = now if measurement.waiting_since is None else measurement.waiting_since
        if now - since >= self._wait_seconds:
            waited = f" (waited {format_duration(now - since)})" if now > since else ""
            return replace(failure, message=failure.message + waited)
        if measurement.waiting_since is None:
            logger.warning("waiting: %s", failure.message)
        self.add(replace(measurement, waiting_since=since))
        return None
