"""Print the attempts to meet an accuracy budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.report.stacked import stacked
from edgeconv.report.tables import Column, console
from edgeconv.units import format_bytes, format_duration

if TYPE_CHECKING:
    from edgeconv.export.quantize.accuracy.escalation import Attempt


def print_attempts(attempts: Sequence[Attempt], place: str) -> None:
    """Print one row per attempt: what it reached, and its gain over the best attempt before.

    Args:
        attempts: The attempts.
        place: Where the latencies were measured.
    """
    columns = [
        Column("attempt"),
        Column("SQNR", numeric=True),
        Column("gain", numeric=True),
        Column("accuracy lost", numeric=True),
        Column("size", numeric=True),
        Column("latency", numeric=True),
        Column("budget"),
    ]
    rows = []
    best = -math.inf
    for attempt in attempts:
        figures = attempt.figures
        gain = "–" if best == -math.inf else f"{figures.sqnr_db - best:+.1f} dB"
        lost = figures.accuracy_drop
        rows.append(
            [
                attempt.name,
                f"{figures.sqnr_db:.1f} dB",
                gain,
                "–" if lost is None else f"{100 * lost:.2f}%",
                format_bytes(figures.bytes),
                "–" if figures.latency_ns is None else format_duration(figures.latency_ns / 1e9),
                "met" if attempt.met else "missed",
            ]
        )
        best = max(best, figures.sqnr_db)
    out = console()
    out.print(stacked(columns, rows))
    out.print(
        f"All figures are those of the worst int8 file. Latency is the median on {place} with one "
        "thread. The gain is relative to the best row above."
    )
