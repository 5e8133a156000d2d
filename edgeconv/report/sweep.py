"""The tables of a sweep: what it found, and what it is about to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edgeconv.bench.compare.accuracy import format_figure
from edgeconv.report.stacked import stacked
from edgeconv.report.tables import Column, table
from edgeconv.sweep.estimate import Kind
from edgeconv.sweep.network import Network
from edgeconv.sweep.result import Row, SweepResult
from edgeconv.units import format_bytes, format_count, format_duration

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_SHOWN_FAILURES = 20


def sweep_table(result: SweepResult, *, front: bool) -> Table:
    """The rows with a file, the best first; only those on the front, if so.

    A star marks the front, and a check mark what also keeps to the limits of the plan.
    """
    columns, _, cells = sweep_rows(result, front=front)
    return table(columns, cells)


def sweep_rows(
    result: SweepResult, *, front: bool
) -> tuple[list[Column], list[Row], list[tuple[str, ...]]]:
    """The columns of that table, its rows, and their cells."""
    rows = [row for row in result.rows if row.file is not None and (row.on_front or not front)]
    rows.sort(key=lambda row: (row.device or "", -(row.gain or 0.0), row.cost or 0, row.bytes or 0))
    labels = network_labels([row.network for row in result.rows])
    wanted: list[tuple[Column, Callable[[Row], str]]] = [
        (Column("network"), lambda row: labels(row.network)),
        (Column("file"), _file),
        (_accuracy_column(rows), _accuracy),
        (Column("device"), lambda row: row.device or ""),
        (Column("threads", numeric=True), lambda row: str(row.threads or "")),
        (Column("latency", numeric=True), _latency),
        (Column("instructions", numeric=True), _instructions),
        (Column("memory", numeric=True), _memory),
        (Column("size", numeric=True), lambda row: format_bytes(row.bytes or 0)),
        (Column(""), lambda row: _mark(row, result)),
    ]
    columns: list[tuple[Column, list[str]]] = [
        (column, [cell(row) for row in rows]) for column, cell in wanted
    ]
    shown = [(column, cells) for column, cells in columns if _says_something(column, cells)]
    by_row = list(zip(*(cells for _, cells in shown), strict=True))
    return [column for column, _ in shown], rows, by_row


def _says_something(column: Column, cells: Sequence[str]) -> bool:
    """Whether a column is worth its place: one device, or one thread everywhere, is not."""
    if column.name in ("device", "threads"):
        return len(set(cells)) > 1
    return any(cells)


def notes(result: SweepResult) -> list[str]:
    """Why figures are missing, each reason once, and what the marks are."""
    labels = network_labels([row.network for row in result.rows])
    reasons: dict[str, list[str]] = {}
    for row in result.rows:
        for why in row.failures:
            name = f"{labels(row.network)} {row.network.precision.value}"
            reasons.setdefault(why, []).append(name)
    lines = [f"{', '.join(dict.fromkeys(names))}: {why}" for why, names in reasons.items()]
    if len(lines) > _SHOWN_FAILURES:
        more = len(lines) - _SHOWN_FAILURES
        lines = [*lines[:_SHOWN_FAILURES], f"{more} more failures are in the JSON"]
    on_front = any(row.on_front for row in result.rows)
    found = [row for row in result.rows if row.file is not None]
    if found and all(row.accuracy is None for row in found):
        lines = ["no accuracy was evaluated: the front is of cost and size", *lines]
    kept = ", ✓ keeps to the limits as well" if result.limits.stated else ""
    return [*([f"* is on the front{kept}"] if on_front else []), *lines]


def estimate_table(kinds: Sequence[Kind]) -> Table | Text:
    """The jobs of a plan, and about how long they take one after another."""
    return stacked(
        [
            Column("job"),
            Column("all", numeric=True),
            Column("done", numeric=True),
            Column("each about", numeric=True),
            Column("left about", numeric=True),
            Column("from"),
        ],
        [
            [
                kind.name,
                str(kind.jobs),
                str(kind.done),
                format_duration(kind.seconds),
                format_duration(kind.left_seconds),
                f"{kind.earlier} earlier jobs"
                if kind.earlier
                else "the plan"
                if kind.name == "measure"
                else "a guess",
            ]
            for kind in kinds
        ],
    )


def _key(network: Network) -> str:
    return network.model_dump_json(exclude={"precision"})


def network_labels(networks: Sequence[Network]) -> Callable[[Network], str]:
    """What names each of the networks, by what differs between them."""
    fields = [_fields(network) for network in networks]
    names = list(dict.fromkeys(name for each in fields for name in each))
    varied = [n for n in names if len({repr(each[n]) for each in fields if n in each}) > 1]
    labels = {
        _key(network): " ".join(
            [
                network.model.rpartition("/")[2],
                *(
                    f"{name}={each[name]}"
                    for name in varied
                    if name != "model" and each.get(name) is not None
                ),
            ]
        )
        for network, each in zip(networks, fields, strict=True)
    }
    return lambda network: labels[_key(network)]


def _fields(network: Network) -> dict[str, Any]:
    fixed: dict[str, Any] = {
        "model": network.model,
        "size": network.input_size,
        "target": network.target,
    }
    # Efforts and ranges are of files that are calibrated.
    tried = {"effort": network.effort, "range": network.range_method.value}
    return fixed | network.args | (tried if network.precision.calibrated else {})


def _accuracy_column(rows: Sequence[Row]) -> Column:
    names = [row.accuracy.name for row in rows if row.accuracy is not None]
    return Column(names[0] if names else "SQNR", numeric=True)


def _file(row: Row) -> str:
    return f"{row.network.precision.value} {row.format.value if row.format else ''}"


def _accuracy(row: Row) -> str:
    if row.accuracy is not None:
        return format_figure(row.accuracy)
    return "" if row.sqnr_db is None else f"{row.sqnr_db:.1f} dB"


def _latency(row: Row) -> str:
    return "" if row.latency_ns is None else format_duration(row.latency_ns.value / 1e9)


def _instructions(row: Row) -> str:
    return "" if row.instructions is None else format_count(row.instructions)


def _memory(row: Row) -> str:
    return "" if row.memory_bytes is None else format_bytes(row.memory_bytes)


def _mark(row: Row, result: SweepResult) -> str:
    if not row.on_front:
        return ""
    return "✓" if result.limits.stated and result.limits.kept_by(row) else "*"
