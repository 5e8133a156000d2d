"""Print what accuracy costs: the front that a search of precision by layer finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.report.stacked import stacked
from edgeconv.report.tables import Column, console
from edgeconv.units import format_bytes, format_percent

if TYPE_CHECKING:
    from edgeconv.export.search import FrontPoint


def print_front(front: Sequence[FrontPoint]) -> None:
    """Print one row for each network of the front, the least accurate first."""
    columns = [
        Column("blocks outside int8"),
        Column("SQNR", numeric=True),
        Column("weights", numeric=True),
        Column("work outside int8", numeric=True),
    ]
    rows = [
        [
            point.name,
            f"{point.sqnr_db:.1f} dB",
            f"+{format_bytes(point.extra_bytes)}",
            format_percent(point.outside),
        ]
        for point in front
    ]
    out = console()
    out.print(stacked(columns, rows))
    out.print(
        "SQNR is that of samples that were not fitted, without bias correction. Work is counted "
        "in multiplications and results; it is no latency. Where plain int8 misses --min-sqnr, "
        "--accuracy-budget, --max-size or --max-latency, another row is tried."
    )
