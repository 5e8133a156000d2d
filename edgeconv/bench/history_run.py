"""What the history keeps of a result beside the whole of it, in columns that it can search."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class HistoryRow:
    """One file of a run: the columns of the table of models of the same names.

    It has a latency in nanoseconds, or the instructions of one inference on an emulated board, or a
    figure of accuracy (its name, such as top-1, its value and its unit). ``log_variance`` is that
    of the log of the session's median, as its processes show it.
    """

    name: str
    sha256: str | None
    bytes: int
    runtime: str
    threads: int | None
    median_ns: float | None = None
    low_ns: float | None = None
    high_ns: float | None = None
    instructions: int | None = None
    log_variance: float | None = None
    figure: str | None = None
    value: float | None = None
    unit: str | None = None


@dataclass(frozen=True)
class HistoryRun:
    """When and where a measurement was made, and what of each of its files."""

    started: datetime
    device: str
    files: tuple[HistoryRow, ...]
