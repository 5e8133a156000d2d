"""The table of a latency measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.report.tables import Column, table
from edgeconv.units import format_bytes, format_duration, format_ratio, significant

if TYPE_CHECKING:
    from rich.table import Table

    from edgeconv.bench.result import BenchResult, ModelResult, Tail

COLUMNS = (
    Column("File"),
    Column("Runtime"),
    Column("Threads", numeric=True),
    Column("Median [95 % interval]", numeric=True),
    Column("p90", numeric=True),
    Column("First", numeric=True),
    Column("Load", numeric=True),
    Column("Memory", numeric=True),
)
SPEEDUP = Column("Speed-up over the slowest", numeric=True)


def latency_table(result: BenchResult) -> Table:
    """One row per file; speed-ups are against the slowest file, where there are several."""
    rows = []
    for index, model in enumerate(result.models):
        run, summary = model.processes[0], model.summary
        row = [
            model.file.name,
            f"{run.runtime.value} {run.runtime_version}",
            str(result.options.threads),
            _median(model),
            _tail(summary.p90),
            format_duration(summary.first / 1e9),
            format_duration(summary.load / 1e9),
            _memory(model),
        ]
        if len(result.models) > 1:
            row.append(_speedup(result, index))
        rows.append(row)
    columns = (*COLUMNS, SPEEDUP) if len(result.models) > 1 else COLUMNS
    return table(columns, rows)


def notes(result: BenchResult) -> list[str]:
    """What the reader of the table must know: why a cell is blank, and what disturbed it."""
    blanks = {m.summary.p90.reason: m.file.name for m in result.models if m.summary.p90.reason}
    single = [m.file.name for m in result.models if len(m.processes) < 2]
    return [
        *(["no interval: one process does not show how much processes differ"] if single else []),
        *(f"{name}: p90 is left blank ({reason})" for reason, name in blanks.items()),
        *result.warnings,
    ]


def _median(model: ModelResult) -> str:
    """The median, with its interval if several processes show how much processes differ."""
    value, low, high = (
        x / 1e9
        for x in (
            model.summary.median.value,
            model.summary.median.low,
            model.summary.median.high,
        )
    )
    if len(model.processes) < 2:
        return format_duration(value)
    return format_duration(value, interval=(low, high))


def _memory(model: ModelResult) -> str:
    """Peak of the whole process, with Python and the runtime."""
    return "-" if model.memory is None else format_bytes(model.memory.peak)


def _tail(tail: Tail) -> str:
    return "-" if tail.value is None else format_duration(tail.value / 1e9)


def _speedup(result: BenchResult, index: int) -> str:
    if index == result.slowest or min(len(m.processes) for m in result.models) < 2:
        ratio = result.models[result.slowest].summary.median.value
        return format_ratio(ratio / result.models[index].summary.median.value)
    speedup = result.speedup(result.slowest, index)
    bounds = f"[{significant(speedup.low)}, {significant(speedup.high)}]"
    return f"{format_ratio(speedup.value)} {bounds}"
