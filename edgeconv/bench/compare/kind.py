"""How results of one kind are read, compared, gated, printed and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edgeconv.bench.compare.comparison import Comparison, ComparisonReport, Limits, Terms
from edgeconv.bench.history_run import HistoryRun
from edgeconv.versioned import Versioned

R = TypeVar("R", bound=Versioned)


@dataclass(frozen=True)
class ResultKind(Generic[R]):
    """One kind of result. Its comparisons (:class:`Comparison`) gate and print themselves.

    Attributes:
        name: What the history and the ``kind`` of the JSON call it.
        plural: What people call such figures.
        result: The type of the results, which reads their JSON.
        compare: Compares two results; raises UsageError if they have no file in common.
        headline: What a gate of such results checks.
        change_column: The heading of the change in the gate's table.
        doubt: What a gate says of a file on which the figures do not decide.
        history_run: What the history has of a result; None where it does not keep this kind, of
            which two results may be equal.
    """

    name: str
    plural: str
    result: type[R]
    compare: Callable[[R, R, Terms], ComparisonReport[Comparison[Any, Any]]]
    headline: Callable[[Limits], str]
    change_column: str = "Change"
    doubt: str = ""
    history_run: Callable[[R], HistoryRun] | None = None
