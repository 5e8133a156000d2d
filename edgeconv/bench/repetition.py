"""How many processes a file needs."""

from __future__ import annotations

import math

LEAST = 6  # repetitions before the width of an interval is believed
MOST = 40  # the limit of --detect unless another is stated
MOST_SECONDS = 600.0  # the same in time


def enough_calm(calm: int, processes: int) -> bool:
    """Whether the processes that nothing disturbed can speak for all."""
    return calm >= max(2, min(math.ceil(processes / 2), LEAST))
