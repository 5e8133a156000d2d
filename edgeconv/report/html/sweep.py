"""A sweep on a page: the front of each device, and everything that was tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgeconv.evaluation import SHARE
from edgeconv.report.chains import chain_notes, chain_table
from edgeconv.report.html.charts import Chart, Point, front
from edgeconv.report.html.page import HtmlTable, Section, html_table
from edgeconv.report.sweep import notes, sweep_rows
from edgeconv.sweep.result import Row, SweepResult
from edgeconv.units import format_percent


def sweep_section(result: SweepResult) -> Section:
    """What a sweep found."""
    columns, rows, cells = sweep_rows(result, front=False)
    charts = _charts(rows, [" ".join(each[:2]) for each in cells])
    tables = [html_table("All files", columns, cells)] if rows else []
    chains = _chain_blocks(result) if any(row.stages for row in result.chains) else []
    return Section(
        f"Sweep of {result.started:%Y-%m-%d %H:%M} UTC",
        blocks=(*charts, *tables, *chains),
        notes=(*notes(result), *chain_notes(result)),
    )


def _chain_blocks(result: SweepResult) -> list[Chart | HtmlTable]:
    """Accuracy against expected cost by threshold, for each device, and all of it as a table."""
    columns, rows, cells = chain_table(result, front=False)
    charts = []
    for device in dict.fromkeys(row.device for row in rows):
        here = [row for row in rows if row.device == device]
        unit = "latency (ms)" if here[0].latency_ns is not None else "instructions (millions)"
        points = [
            Point(
                ", ".join(format_percent(share, places=0) for share in row.shares),
                (row.cost or 0.0) / 1e6,
                100 * (row.gain or 0.0),
                row.bytes,
                row.on_front,
            )
            for row in here
        ]
        place = "" if device is None else f" on {device}"
        title = f"top-1 (%) of early exits against expected {unit}{place}, by who leaves where"
        charts.append(front(title, points, f"expected {unit}", "top-1 (%)"))
    return [*charts, html_table("Early exits", columns, cells)]


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
