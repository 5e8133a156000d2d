"""The kinds of results that ``edgeconv compare`` and ``edgeconv gate`` know.

A new kind is a file beside this one and an entry in :data:`KINDS`.
"""

from __future__ import annotations

from typing import Any

from edgeconv.bench.compare.accuracy import ACCURACY
from edgeconv.bench.compare.instructions import INSTRUCTIONS
from edgeconv.bench.compare.kind import ResultKind
from edgeconv.bench.compare.latency import LATENCY
from edgeconv.versioned import Versioned

KINDS: tuple[ResultKind[Any], ...] = (LATENCY, INSTRUCTIONS, ACCURACY)


def kind_of(result: Versioned) -> ResultKind[Any]:
    """The kind that a result belongs to."""
    return next(kind for kind in KINDS if type(result) is kind.result)


def kind_named(name: str | None) -> ResultKind[Any]:
    """The kind that a JSON document states; latencies state none."""
    return next((kind for kind in KINDS if kind.name == name), LATENCY)
