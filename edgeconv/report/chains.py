"""The front of chains of stages: accuracy against expected cost, by threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeconv.bench.compare.accuracy import format_figure
from edgeconv.report.sweep import network_labels
from edgeconv.report.tables import Column
from edgeconv.sweep.chain_row import ChainRow
from edgeconv.sweep.result import SweepResult
from edgeconv.units import format_count, format_duration, format_percent, significant


def chain_table(
    result: SweepResult, *, front: bool
) -> tuple[list[Column], list[ChainRow], list[list[str]]]:
    """The columns, the rows with thresholds, the cheapest first, and their cells.

    A star marks the front, and a check mark what also keeps to the limits of the plan.
    """
    found = [row for row in result.chains if row.cost is not None and (row.on_front or not front)]
    rows = sorted(found, key=lambda row: (row.device or "", row.cost or 0.0, -(row.gain or 0.0)))
    names = _names(result.chains)
    wanted: list[tuple[Column, Callable[[ChainRow], str]]] = [
        (Column("chain"), names),
        (Column("thresholds"), _thresholds),
        (_accuracy_column(rows), _accuracy),
        (Column("exits", numeric=True), _shares),
        (Column("expected", numeric=True), _expected),
        (Column(""), lambda row: _mark(row, result)),
    ]
    return [column for column, _ in wanted], rows, [[cell(r) for _, cell in wanted] for r in rows]


def _names(rows: Sequence[ChainRow]) -> Callable[[ChainRow], str]:
    """What names a chain: its network and files, and where and how it leaves if that varies."""
    labels = network_labels([row.network for row in rows])
    found = [row for row in rows if row.stages]
    devices = len({row.device for row in found}) > 1
    threads = len({row.threads for row in found}) > 1
    measures = len({row.confidence for row in found}) > 1

    def name(row: ChainRow) -> str:
        parts = [labels(row.network), row.network.precision.value]
        parts += [row.format.value] if row.format else []
        parts += [f"on {row.device}"] if devices else []
        parts += [f"threads={row.threads}"] if threads else []
        parts += [f"by {row.confidence.value}"] if measures and row.confidence else []
        return " ".join(parts)

    return name


def chain_notes(result: SweepResult) -> list[str]:
    """What the figures are of, and why some are missing."""
    labels = network_labels([row.network for row in result.chains])
    lines = []
    found = next((row for row in result.chains if row.accuracy is not None), None)
    if found is not None and found.accuracy is not None:
        lines.append(
            f"thresholds were found on {found.found_on} samples, and all figures are of "
            f"{found.accuracy.samples} others"
        )
    for row in result.chains:
        name = f"{labels(row.network)} {row.network.precision.value}"
        lines += [f"{name}: {why}" for why in row.failures]
    return lines


def _thresholds(row: ChainRow) -> str:
    return ", ".join("none" if t is None else significant(t, 4) for t in row.thresholds)


def _accuracy_column(rows: Sequence[ChainRow]) -> Column:
    names = [row.accuracy.name for row in rows if row.accuracy is not None]
    return Column(names[0] if names else "accuracy", numeric=True)


def _accuracy(row: ChainRow) -> str:
    return "" if row.accuracy is None else format_figure(row.accuracy)


def _shares(row: ChainRow) -> str:
    return " / ".join(format_percent(share, places=0) for share in row.shares)


def _expected(row: ChainRow) -> str:
    found = row.latency_ns
    if found is not None:
        low, high = found.low / 1e9, found.high / 1e9
        return format_duration(found.value / 1e9, interval=(low, high))
    if row.instructions is None:
        return ""
    ends = (row.instructions.low, row.instructions.high)
    low_text, high_text = (format_count(round(end)) for end in ends)
    return f"{format_count(round(row.instructions.value))} [{low_text}, {high_text}]"


def _mark(row: ChainRow, result: SweepResult) -> str:
    if not row.on_front:
        return ""
    return "✓" if result.limits.stated and result.limits.kept_by(row) else "*"


def rule_of(row: ChainRow) -> str:
    """When a sample leaves, and what that comes to."""
    sure = row.confidence.value if row.confidence else "confidence"
    shares = ", ".join(format_percent(share) for share in row.shares)
    return (
        f"a sample leaves where its {sure} is at least {_thresholds(row)}: {shares} at each exit, "
        f"{_accuracy(row)} right, {_expected(row)} expected"
    )
