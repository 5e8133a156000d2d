"""Find the operators that leave int8 so that a network reaches an SQNR that is asked for.

Where each operator loses a little, those leave first that lose most: with them alone in int8, and
everything else in float, the noise is largest. Neighbors that each lose the same value both show it
that way. How many of them leave is decided on the samples of the search and on those that verify:
one number, by which samples that nothing was fitted to hardly become fitted to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeconv.export.quantize.accuracy.candidates import Candidates, Unit
from edgeconv.export.quantize.accuracy.held_back import HeldBack
from edgeconv.export.quantize.accuracy.judge import Judge, worst_db
from edgeconv.export.quantize.accuracy.reaching import Reaching
from edgeconv.progress import TRYING, Progress

# Each place in the order takes one measurement. Larger networks have several neighbors at a place.
_MOST_PLACES = 96
# How many samples say what an operator loses; the network is measured on all.
_SAMPLES = 4
# The files of both formats may differ from the graph by this on the samples that verify.
_FORMATS_DB = 0.1
_STEP = f"{TRYING}float where int8 loses most"

Enough = Callable[[Sequence[Unit]], bool]


def reach_asked(
    candidates: Candidates,
    judge: Judge,
    reaching: Reaching,
    target_db: float,
    held_back: HeldBack | None,
    progress: Progress,
) -> list[Unit]:
    """Find operators with which all samples reach a target, once they are in float.

    Args:
        candidates: The versions of the network.
        judge: Measures them on the samples of the search.
        reaching: Compares them with the target on these samples.
        target_db: The SQNR of the worst output or part.
        held_back: Measures them on samples that nothing was fitted to; None where there are none.
        progress: Called with (step, done, total).

    Returns:
        The operators; none where nothing has to be in float, or where the target is not reached
        before everything is.
    """

    def enough(outside: Sequence[Unit]) -> bool:
        qdq = candidates.qdq(outside)
        if not reaching.reaches(qdq, target_db):
            return False
        return held_back is None or held_back.sqnr_db(qdq) >= target_db + _FORMATS_DB

    if enough([]) or not enough(candidates.free):
        return []
    places = _noisiest_first(candidates, judge, reaching, progress)
    few, many = 0, len(places)
    while many - few > 1:
        # Most targets take few operators: the middle of an interval on a logarithmic scale.
        middle = max(few + 1, min(many - 1, round((max(few, 1) * many) ** 0.5)))
        few, many = (few, middle) if enough(_of(places[:middle])) else (middle, many)
    found = _of(places[:many])
    return found if candidates.have_integers(found) else []


def _noisiest_first(
    candidates: Candidates, judge: Judge, reaching: Reaching, progress: Progress
) -> list[list[Unit]]:
    """The operators that may be in float, with those first that lose most alone in int8."""
    free = candidates.free
    size = -(-len(free) // _MOST_PLACES)
    places = [free[at : at + size] for at in range(0, len(free), size)]
    samples = reaching.samples[:_SAMPLES]
    kept = []
    for done, place in enumerate(places):
        progress(_STEP, done, len(places))
        others = [unit for unit in candidates.units if unit not in place]
        kept.append(worst_db(judge.measuring(candidates.qdq(others))(samples)))
    return [places[at] for at in sorted(range(len(places)), key=kept.__getitem__)]


def _of(places: Sequence[Sequence[Unit]]) -> list[Unit]:
    return [unit for place in places for unit in place]
