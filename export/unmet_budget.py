"""What to say of a budget that no attempt meets: what was reached, why no more, and what helps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from edgeconv.bundle import Artifact, Precision
from edgeconv.errors import EdgeconvError
from edgeconv.export.quantize.accuracy.escalation import Attempt, Budget
from edgeconv.units import format_bytes, format_duration

# What a search takes for reached on the graph, and the files miss, they miss by less than this.
_MISSED_BY_FILES_DB = 1.0
_KEEPING_MORE = (Precision.FLOAT16, Precision.INT16X8)


def unmet_budget(
    attempts: Sequence[Attempt], budget: Budget, others: Sequence[Artifact], *, searched: bool
) -> EdgeconvError:
    """The error that says so.

    Args:
        attempts: The attempts, all of which miss the budget.
        budget: The budget.
        others: The files of other precisions than int8 that the last of them wrote.
        searched: Whether precisions by layer were tried.
    """
    count = len(attempts)
    who = "the only attempt misses" if count == 1 else f"none of {count} attempts meets"
    reason, ways = "", list(_ways_around(attempts, budget, others))
    if _too_large(attempts, budget):
        smallest = min(attempt.figures.bytes for attempt in attempts)
        reason = ": int8 alone is too large, and what leaves int8 takes no less"
        ways.append(f"allow {smallest:,} bytes or more")
    elif target_db := _out_of_reach(attempts):
        reason = f": {target_db:g} dB is out of reach while any operator is in int8"
        if budget.max_bytes is None and not {each.precision for each in others} & {*_KEEPING_MORE}:
            ways.append("compare --precision int16x8 and float16, which keep more")
    else:
        ways += ["calibrate with more or better data"]
        ways += [] if searched else ["add --search, which tries precisions by layer"]
        ways += ["allow more loss, size or time"]
    return EdgeconvError(
        f"{who} the budget ({_reached(attempts)}), and nothing was written{reason}",
        hint=", or ".join(ways),
    )


def _reached(attempts: Sequence[Attempt]) -> str:
    figures = [attempt.figures for attempt in attempts]
    lost = [each.accuracy_drop for each in figures if each.accuracy_drop is not None]
    reached = [
        *([f"the least loss was {100 * min(lost):.2f}%"] if lost else []),
        f"the best reached {max(each.sqnr_db for each in figures):.1f} dB",
        f"the smallest {format_bytes(min(each.bytes for each in figures))}",
    ]
    if times := [each.latency_ns for each in figures if each.latency_ns is not None]:
        reached.append(f"the fastest {format_duration(min(times) / 1e9)}")
    return ", ".join(reached)


def _too_large(attempts: Sequence[Attempt], budget: Budget) -> bool:
    """Whether nothing fits, not even with all operators in int8 that have an int8 form."""
    limit = budget.max_bytes
    figures = [attempt.figures for attempt in attempts]
    plain = any(not each.repaired for each in figures)
    return limit is not None and plain and all(each.bytes > limit for each in figures)


def _out_of_reach(attempts: Sequence[Attempt]) -> float | None:
    """The SQNR that the search for operators in float reached with none left in int8, if any."""
    missed = (
        attempt.options.repair_to
        for attempt in attempts
        if attempt.options.repair
        and attempt.options.repair_to is not None
        and not attempt.figures.repaired
        and attempt.figures.sqnr_db < attempt.options.repair_to - _MISSED_BY_FILES_DB
    )
    return next(missed, None)


def _ways_around(
    attempts: Sequence[Attempt], budget: Budget, others: Sequence[Artifact]
) -> Iterator[str]:
    """Files of other precisions that keep to the budget, and a smaller SQNR that was reached."""
    if budget.max_latency_ns is None:  # of the others no latency was measured
        for precision, files in groupby(others, lambda each: each.precision):
            if found := _within(list(files), budget):
                yield f"take --precision {precision.value} without the budget: {found}"
    if budget.min_sqnr_db is not None:
        best = max(attempts, key=lambda attempt: attempt.figures.sqnr_db)
        less_db = math.floor(10 * best.figures.sqnr_db) / 10
        asked = Budget(less_db, budget.max_accuracy_drop, budget.max_bytes, budget.max_latency_ns)
        if asked.met_by(best.figures):
            yield f"ask for {less_db} dB, which was reached"


def _within(files: Sequence[Artifact], budget: Budget) -> str:
    """What files of one precision have, if they surely keep to a budget."""
    size = max(each.bytes for each in files)
    kept = [each.verification.sqnr_db for each in files if each.verification is not None]
    is_float = files[0].precision is Precision.FLOAT32
    if is_float and budget.max_bytes is None:
        return ""  # that float32 keeps what float32 has is no news
    if budget.max_bytes is not None and size > budget.max_bytes:
        return ""
    if budget.max_accuracy_drop is not None and not is_float:
        return ""
    if budget.min_sqnr_db is not None and min(kept, default=-math.inf) < budget.min_sqnr_db:
        return ""
    accuracy = "" if budget.min_sqnr_db is None else f" and keeps {min(kept):.1f} dB"
    return f"it takes {format_bytes(size)}{accuracy}"
