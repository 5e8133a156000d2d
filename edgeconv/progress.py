"""How a long computation reports its progress: one shape for exports, evaluations and benchmarks.

:func:`edgeconv.report.tables.progress` draws it on a terminal.
"""

from __future__ import annotations

from collections.abc import Callable

# Called with the name of a step, how much of it is done and how much there is.
Progress = Callable[[str, int, int], None]


def no_progress(step: str, done: int, total: int) -> None:
    """Report nothing."""
