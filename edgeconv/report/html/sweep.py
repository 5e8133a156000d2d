"""A sweep on a page: the front of each device, and everything that was tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgeconv.evaluation import SHARE
from edgeconv.report.html.charts import Chart, Point, front
from edgeconv.report.html.page import Section, html_table
from edgeconv.report.sweep import notes, sweep_rows
from edgeconv.sweep.result import Row, SweepResult


def sweep_section(result: SweepResult) -> Section:
    """What a sweep found."""
    columns, rows, cells = sweep_rows(result, front=False)
    charts = _charts(rows, [" ".join(each[:2]) for each in cells])
    return Section(
        f"Sweep of {result.started:%Y-%m-%d %H:%M} UTC",
        blocks=(*charts, html_table("All files", columns, cells)),
        notes=tuple(notes(result)),
    )


def _charts(rows: Sequence[Row], names: Sequence[str]) -> Iterator[Chart]:
    """Accuracy against cost, for each device where two files have both."""
    for device in dict.fromkeys(row.device for row in rows):
        here = [
            (row, name)
            for row, name in zip(rows, names, strict=True)
            if row.device == device and row.cost is not None and row.accuracy is not None
        ]
        # The front takes the upper left: an error, of which less is better, has no place there.
        if len(here) < 2 or any(row.accuracy.better != "higher" for row, _ in here if row.accuracy):
            continue
        first = here[0][0]
        share = first.accuracy is not None and first.accuracy.unit == SHARE
        timed = first.latency_ns is not None
        accuracy = f"{first.accuracy.name if first.accuracy else ''}{' (%)' if share else ''}"
        cost = "latency (ms)" if timed else "instructions (millions)"
        points = [
            Point(
                name,
                (row.cost or 0.0) / 1e6,
                (100 if share else 1) * row.accuracy.value,
                row.bytes or 0,
                row.on_front,
            )
            for row, name in here
            if row.accuracy is not None
        ]
        place = "" if device is None else f" on {device}"
        yield front(
            f"{accuracy} against {cost}{place}; larger dots are larger files",
            points,
            cost,
            accuracy,
        )
