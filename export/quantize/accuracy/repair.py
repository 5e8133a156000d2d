"""Find the region of a network that has to leave int8 where the loss is large.

Neighbors may have to leave together: a Sigmoid whose steps are too large, and the Concat behind it
that shares a scale with pixels, gain nothing one by one. The network is therefore taken to int8
from its inputs on, with everything behind in float. The operator at which too much is lost stays in
float, and so on to the end. Afterwards each of them returns to int8 if that costs nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from edgeconv.export.quantize.accuracy.asked_target import reach_asked
from edgeconv.export.quantize.accuracy.candidates import Candidates, Unit
from edgeconv.export.quantize.accuracy.held_back import HeldBack
from edgeconv.export.quantize.accuracy.judge import Gain, Judge
from edgeconv.export.quantize.accuracy.passes import Improvement
from edgeconv.export.quantize.accuracy.reaching import Reaching
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.metrics import POOR_SQNR_DB
from edgeconv.progress import TRYING, Progress

# What a place shall reach if that takes few operators, and what it shall reach at least. Ranges are
# fitted to the samples that are judged on, which flatters a network by about two decibels.
_GOOD_DB, _FEW = 20.0, 1 / 8
_LEAST_DB, _MANY = POOR_SQNR_DB + 2, 1 / 2
# A search that reaches neither is worth keeping if it gains this.
_WORTHWHILE_DB = 3.0
# How many operators a summary names.
_NAMED = 4
# How many questions a search may ask at an effort; more keep fewer operators in float. One takes as
# long as making the network and running it on a few samples.
_QUESTIONS = {0: 32, 1: 32, 2: 128}
# In a small network a share of the operators may be none: so many may always be in float.
_LEAST_MOST = 4


def repair(
    current: CalibratedModel,
    uncorrected: CalibratedModel,
    judge: Judge,
    progress: Progress,
    target_db: float | None = None,
    held_back: HeldBack | None = None,
) -> tuple[CalibratedModel, Improvement | None]:
    """Keep the region in float that loses too much, if an output or a part of one keeps little.

    Args:
        current: The network.
        uncorrected: The network without bias correction, which would be an error in float. What
            stays in int8 keeps it.
        judge: Measures it.
        progress: Called with (step, done, total).
        target_db: The SQNR to reach; by default little is kept below 10 dB.
        held_back: Measures on samples that nothing was fitted to, which have to reach the target,
            too; None where there are none.

    Returns:
        The network, and what was gained; as it was and None if nothing has to be or can be done.
    """
    start = time.perf_counter()
    reaching = Reaching(judge, current.to_qdq()[0])
    before = reaching.sqnr_db
    if target_db is None and before >= _LEAST_DB:
        return current, None
    candidates = Candidates(current, uncorrected.model)
    if target_db is None:
        progress(f"{TRYING}float where int8 loses most", 0, 1)
        search = _Search(candidates, reaching)
        most = _QUESTIONS.get(current.options.effort, math.inf)
        found = search.reach(_GOOD_DB, _FEW, questions=most)
        found = found or search.reach(_LEAST_DB, _MANY, partly=True, questions=most)
    else:
        found = reach_asked(candidates, judge, reaching, target_db, held_back, progress)
    if not found:
        return current, None
    repaired = candidates.with_float(found)
    noise = [judge.noise(each.to_qdq()[0], judge.kept) for each in (current, repaired)]
    after = judge.sqnr_db(repaired.to_qdq()[0])
    gain = Gain.between(*noise)
    worthwhile = after >= before + _WORTHWHILE_DB or after >= _LEAST_DB
    kept = worthwhile or target_db is not None
    name = _described(found, len(candidates.units), _extra_bytes(current, repaired))
    seconds = time.perf_counter() - start
    step = Improvement(name, before, after, gain, kept, seconds, repairs=True)
    return (repaired if kept else current), step


class _Search:
    """Finds what has to be in float; what it finds is certain, each step towards it need not be."""

    _left: float = math.inf  # so many questions
    _certain: bool = False  # whether each answer has to be

    def __init__(self, candidates: Candidates, reaching: Reaching) -> None:
        self._candidates, self._reaching = candidates, reaching
        self.units, self._free = candidates.units, candidates.free

    def reach(
        self,
        target_db: float,
        share: float,
        *,
        partly: bool = False,
        questions: float = math.inf,
    ) -> list[Unit]:
        """Search operators, at most a share of all, without which ``target_db`` is reached.

        Args:
            target_db: The SQNR of the worst output or part.
            share: How many operators may be in float.
            partly: Whether a search that reaches less counts.
            questions: How many it may ask, and a few more. What is not known to do in int8 by then
                stays in float, as far as it may.

        Returns:
            The operators; none where nothing was found, or nothing has to be in float.
        """
        self._left, self._certain = questions, False
        most = max(_LEAST_MOST, int(len(self.units) * share))
        chosen: list[list[Unit]] = []
        done = 0  # so many of the first operators are decided, and enough is kept with them
        if not self._asked(target_db, self._free, certain=True):
            return []
        while not self._asked(target_db, _all(chosen), certain=True):
            room = most - len(_all(chosen))
            if self._left <= 0:
                chosen.append(self._free[done : done + room])
                found = _all(chosen)
                return found if partly or self._asked(target_db, found, certain=True) else []
            if done == len(self._free):  # an answer from few samples was wrong
                self._certain, chosen, done = True, [], 0
                continue
            if not room:
                return _all(chosen) if partly else []
            at = self._first_lossy(_all(chosen), done, target_db)
            # Where one operator after the other loses too much, ever more of them leave together.
            size = 2 * len(chosen[-1]) if chosen and at == done else 1
            chosen.append(self._free[at : at + min(size, room)])
            done = at + len(chosen[-1])
        needed = set(self._all_needed(_all(chosen), target_db))
        return [unit for unit in self._free if unit in needed]

    def _all_needed(self, chosen: Sequence[Unit], target_db: float) -> list[Unit]:
        """What of the operators has to stay in float; with all of them the target is reached."""
        found = self._needed(chosen, target_db)
        fewer = len(found) < len(chosen)
        if self._certain or not fewer or self._asked(target_db, found, certain=True):
            return found
        self._certain = True
        return self._needed(chosen, target_db)

    def _first_lossy(self, chosen: Sequence[Unit], done: int, target_db: float) -> int:
        """The first operator from ``done`` on with which too little is kept in int8.

        Args:
            chosen: The operators in float among those that are decided.
            done: The number of operators that are decided.
            target_db: What is enough.
        """

        def enough(count: int) -> bool:
            return self._asked(target_db, [*chosen, *self._free[count:]])

        low, step = done, 1
        while low + step < len(self._free) and enough(low + step):
            low, step = low + step, 2 * step
        high = min(low + step, len(self._free))
        while high - low > 1 and self._left > 0:
            middle = (low + high) // 2
            low, high = (middle, high) if enough(middle) else (low, middle)
        return low

    def _needed(self, chosen: Sequence[Unit], target_db: float) -> list[Unit]:
        """What has to stay in float, by answers that need not be certain.

        The operators return to int8 in their order, as many at a time as the target allows: so one
        that has to stay costs a single question behind another one.
        """
        needed: list[Unit] = []
        done, step, too_many = 0, 1, len(chosen) + 1
        while done < len(chosen) and self._left > 0:
            if too_many == done + 1:
                needed.append(chosen[done])
                done, step, too_many = too_many, 1, len(chosen) + 1
                continue
            some = (done + too_many) // 2 if too_many <= len(chosen) else done + step
            some = min(some, len(chosen))
            if self._asked(target_db, [*needed, *chosen[some:]]):
                done, step = some, 2 * step
            else:
                too_many = some
        return [*needed, *chosen[done:]]

    def _asked(self, target_db: float, outside: Sequence[Unit], *, certain: bool = False) -> bool:
        self._left -= 1
        return self._reaches(target_db, outside, certain=certain or self._certain)

    def _reaches(self, target_db: float, outside: Sequence[Unit], *, certain: bool) -> bool:
        candidate = self._candidates.qdq(outside)
        return self._reaching.reaches(candidate, target_db, certain=certain)


def _all(parts: Sequence[list[Unit]]) -> list[Unit]:
    return [unit for part in parts for unit in part]


def _extra_bytes(before: CalibratedModel, after: CalibratedModel) -> int:
    """How much larger the weights become."""
    left = set(before.weights) - set(after.weights)
    return 3 * sum(before.weights[name].integers.size for name in left)


def _described(found: Sequence[Unit], total: int, extra_bytes: int) -> str:
    names = [unit.result for unit in found]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    weights = f", weights {extra_bytes:,} bytes larger" if extra_bytes else ""
    return (
        f"{', '.join(names[:_NAMED])}{more} in float ({len(names)} of {total} operators{weights})"
    )
