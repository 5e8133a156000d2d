"""The tables of a profile by operator."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from edgeconv.report.tables import Column, table
from edgeconv.report.units import format_duration, format_percent, significant

if TYPE_CHECKING:
    from rich.table import Table

    from edgeconv.bench.operators import OperatorResult, ProfiledModel
    from edgeconv.device.messages import Operator

COLUMNS = (
    Column("File"),
    Column("Node"),
    Column("Operator"),
    Column("Output"),
    Column("Time", numeric=True),
    Column("Share", numeric=True),
    Column("GMAC/s", numeric=True),
)
ROWS = 15  # the slowest nodes of a file


def operators_table(result: OperatorResult) -> Table:
    """The slowest nodes of each file, their share of the time, and how fast they compute."""
    return table(COLUMNS, [row for model in result.models for row in _rows(model)])


def notes(result: OperatorResult) -> list[str]:
    """The share of each kind of operator."""
    found = []
    for model in result.models:
        kinds: dict[str, int] = defaultdict(int)
        for operator in model.operators:
            kinds[operator.operator] += operator.ns
        total = max(sum(kinds.values()), 1)
        order = sorted(kinds, key=lambda kind: -kinds[kind])
        shares = ", ".join(f"{kind} {format_percent(kinds[kind] / total)}" for kind in order)
        found.append(f"{model.file.name}: {format_duration(total / 1e9)} in kernels: {shares}")
    return found


def _rows(model: ProfiledModel) -> list[list[str]]:
    total = max(sum(operator.ns for operator in model.operators), 1)
    order = sorted(model.operators, key=lambda operator: -operator.ns)
    rows = [
        [
            "" if index else model.file.name,
            operator.name,
            operator.operator,
            "×".join(map(str, operator.outputs[0])) if operator.outputs else "-",
            format_duration(operator.ns / 1e9),
            format_percent(operator.ns / total),
            _speed(operator),
        ]
        for index, operator in enumerate(order[:ROWS])
    ]
    if rest := order[ROWS:]:
        time = sum(operator.ns for operator in rest)
        label = f"{len(rest)} others"
        rows.append(
            ["", label, "", "", format_duration(time / 1e9), format_percent(time / total), ""]
        )
    return rows


def _speed(operator: Operator) -> str:
    from edgeconv.bench.operators import macs

    count = macs(operator)
    return "-" if not count or not operator.ns else significant(count / operator.ns)
