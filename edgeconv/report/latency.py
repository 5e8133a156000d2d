"""The table of a latency measurement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.bench.xnnpack import runtime_name
from edgeconv.report.stacked import stacked
from edgeconv.report.tables import Column
from edgeconv.units import format_bytes, format_duration, format_ratio, significant

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from edgeconv.bench.result import BenchResult, ModelResult, Tail

LATENCIES = (
    Column("File"),
    Column("Median [95 % interval]", numeric=True),
    Column("Min", numeric=True),
    Column("p10", numeric=True),
    Column("p90", numeric=True),
)
SPEEDUP = Column("Speed-up", numeric=True)
COSTS = (
    Column("File"),
    Column("Runtime"),
    Column("Threads", numeric=True),
    Column("CPU time", numeric=True),
    Column("First", numeric=True),
    Column("Load", numeric=True),
    Column("Memory", numeric=True),
)


def latency_table(result: BenchResult) -> Table | Text:
    """One row per file; see :func:`latency_cells`."""
    return stacked(*latency_cells(result))


def latency_cells(result: BenchResult) -> tuple[Sequence[Column], list[list[str]]]:
    """One row per file and number of threads; speed-ups, of several, are against the slowest."""
    several = len(result.models) > 1
    rows = []
    for index, model in enumerate(result.models):
        summary = model.summary
        row = [
            model.label,
            _median(model),
            format_duration(summary.minimum / 1e9),
            format_duration(summary.low.value / 1e9),
            _tail(summary.p90),
        ]
        rows.append([*row, *([_speedup(result, index)] if several else [])])
    return (*LATENCIES, SPEEDUP) if several else LATENCIES, rows


def cost_table(result: BenchResult) -> Table | Text:
    """One row per file; see :func:`cost_cells`."""
    return stacked(*cost_cells(result))


def cost_cells(result: BenchResult) -> tuple[Sequence[Column], list[list[str]]]:
    """What ran each file, and what else it costs."""
    rows = []
    for model in result.models:
        run, summary = model.processes[0], model.summary
        row = [
            model.file.name,
            runtime_name(f"{run.runtime.value} {run.runtime_version}", result.options.xnnpack),
            str(model.threads),
            format_duration(summary.cpu / 1e9),
            format_duration(summary.first / 1e9),
            format_duration(summary.load / 1e9),
            _memory(model),
        ]
        rows.append(row)
    return COSTS, rows


def notes(result: BenchResult) -> list[str]:
    """What the reader of the table must know: why a cell is blank, and what disturbed it."""
    blanks = {m.summary.p90.reason: m.label for m in result.models if m.summary.p90.reason}
    single = [m.label for m in result.models if len(m.processes) < 2]
    left_out = [f"left out: {one.reason}" for one in result.left_out]
    several = len(result.models) > 1
    return [
        *left_out,
        *(["speed-ups are over the slowest row"] if several else []),
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
