"""Find the operators that leave int8 so that a network reaches an SQNR that is asked for.

Where each operator loses a little, those leave first that lose most: with them alone in int8, and
everything else in float, the noise is largest. Neighbors that each lose the same value both show it
that way. The order is measured once; a search for another aim is a search for a number of operators
in that order, which takes a few measurements.
"""

from __future__ import annotations

import math
from functools import cached_property

from edgeconv.export.quantize.accuracy.candidates import Candidates, Unit
from edgeconv.export.quantize.accuracy.held_back import HeldBack
from edgeconv.export.quantize.accuracy.judge import Judge, worst_db
from edgeconv.export.quantize.accuracy.reaching import Reaching
from edgeconv.progress import TRYING, Progress

# Each place in the order takes one measurement. Larger networks have several neighbors at a place.
_MOST_PLACES = 96
# How many samples say what an operator loses; the network is measured on all.
_SAMPLES = 4
# So many searches aim higher and higher, until the samples that verify reach what is asked for.
# They have to exceed it by what the files of both formats may differ from the graph.
_SEARCHES = 5
_FORMATS_DB = 0.1
_STEP = f"{TRYING}float where int8 loses most"


class Order:
    """The operators of a network, with those first that lose most.

    Args:
        candidates: The versions of the network.
        judge: Measures them.
        reaching: Compares them with targets.
        progress: Called with (step, done, total).
    """

    def __init__(
        self, candidates: Candidates, judge: Judge, reaching: Reaching, progress: Progress
    ) -> None:
        self._candidates, self._judge, self._reaching = candidates, judge, reaching
        self._progress = progress
        self._last = 0

    def reach(self, aim_db: float) -> list[Unit]:
        """The first operators of the order, as few as have to be in float to reach an aim.

        Args:
            aim_db: The SQNR of the worst output or part, over all samples.

        Returns:
            The operators; none where it is reached without, or not even with all in float.
        """
        if self._reaching.sqnr_db >= aim_db or self._most_db < aim_db:
            return []
        # Fewer were too few for a lower aim.
        low, high, step = max(self._last - 1, 0), len(self._places), 1
        while low + step < high:
            if self._reaches(low + step, aim_db):
                high = low + step
                break
            low, step = low + step, 2 * step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._reaches(middle, aim_db) else (middle, high)
        while high < len(self._places) and not self._reaches(high, aim_db, certain=True):
            high += 1  # an answer from few samples was wrong
        self._last = high
        return self._first(high)

    @cached_property
    def _most_db(self) -> float:
        """What is kept with all operators in float that may be."""
        return self._judge.sqnr_db(self._candidates.qdq(self._candidates.free))

    @cached_property
    def _places(self) -> list[list[Unit]]:
        free = self._candidates.free
        size = -(-len(free) // _MOST_PLACES) or 1
        places = [free[at : at + size] for at in range(0, len(free), size)]
        samples = self._reaching.samples[:_SAMPLES]
        kept = []
        for done, place in enumerate(places):
            self._progress(_STEP, done, len(places))
            others = [unit for unit in self._candidates.units if unit not in place]
            measure = self._judge.measuring(self._candidates.qdq(others))
            kept.append(worst_db(measure(samples)))
        return [places[at] for at in sorted(range(len(places)), key=kept.__getitem__)]

    def _first(self, count: int) -> list[Unit]:
        chosen = {unit for place in self._places[:count] for unit in place}
        return [unit for unit in self._candidates.free if unit in chosen]

    def _reaches(self, count: int, aim_db: float, *, certain: bool = False) -> bool:
        qdq = self._candidates.qdq(self._first(count))
        return self._reaching.reaches(qdq, aim_db, certain=certain)


def reach_asked(
    order: Order,
    candidates: Candidates,
    before_db: float,
    target_db: float,
    held_back: HeldBack | None,
) -> list[Unit]:
    """Search until both the samples of the search and those held back reach a target.

    Args:
        order: Finds what has to be in float for an aim.
        candidates: The versions of the network.
        before_db: What the network in int8 has on the samples of the search.
        target_db: The target.
        held_back: Measures on samples that nothing was fitted to; None where there are none.

    Returns:
        The operators that have to be in float; those with which the samples held back have most if
        no search reaches the target on them.
    """
    aim, best, best_db = target_db, list[Unit](), -math.inf
    if held_back is not None and before_db >= target_db:
        best_db = held_back.sqnr_db(candidates.qdq([]))
        aim += max(0.0, target_db + _FORMATS_DB - best_db)
    if before_db >= aim:
        return []
    for _ in range(_SEARCHES):
        found = order.reach(aim)
        if not found or not candidates.have_integers(found):
            break
        if held_back is None:
            return found
        kept_db = held_back.sqnr_db(candidates.qdq(found))
        if kept_db > best_db:
            best, best_db = found, kept_db
        missing = target_db + _FORMATS_DB - kept_db
        if missing <= 0:
            break
        aim += missing
    return best
