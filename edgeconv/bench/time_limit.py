"""How long a session goes on adding processes."""

from __future__ import annotations

import math
import time

FEWEST_ROUNDS = 2  # one forth and one back; an interval needs two processes


class TimeLimit:
    """The time that a session has, from the moment that this is made.

    A session ends with a whole round, which is a process of every row: before one that would take
    longer than the time that is left, but after two rounds at the earliest. Processes that were
    disturbed are repeated only while there is time for the rounds that the session plans.

    Args:
        seconds: The limit; infinity is none.
        rows: Processes of a round.
        rounds: Rounds that the session plans.
    """

    def __init__(self, seconds: float = math.inf, rows: int = 1, rounds: int = 1) -> None:
        self._rows, self._planned = rows, rows * rounds
        self._begin, self._seconds = time.monotonic(), seconds
        self._tries = 0

    @property
    def left(self) -> float:
        """Seconds until the time is up; 0.0 if it is."""
        return max(0.0, self._seconds - self._elapsed)

    def note_try(self) -> None:
        """Take note that a process has ended, disturbed or not."""
        self._tries += 1

    def allows_repeating(self, finished: int) -> bool:
        """Whether a process may be repeated when so many have finished."""
        return self._allows(self._planned - finished)

    def allows_round(self, rounds: int) -> bool:
        """Whether another round may begin after so many."""
        return rounds < FEWEST_ROUNDS or self._allows(self._rows)

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._begin

    def _allows(self, processes: int) -> bool:
        """Whether so many processes end in time, if each takes as long as the mean one so far."""
        pace = self._elapsed / max(1, self._tries)
        return self.left > 0 and self.left >= pace * processes


UNLIMITED = TimeLimit()
