"""The documents that commands print with ``--json`` and that are no results of measurements.

Those of networks and sweeps have files of their own. Nothing reads them back, so they are made of
what a command has at hand; the records check it, and the schemas of the docs are theirs. Ratios and
shares are fractions.
"""

from __future__ import annotations

from edgeconv.bench.result import Interval
from edgeconv.device.facts import DeviceFacts
from edgeconv.differences import Difference
from edgeconv.store.history import Entry
from edgeconv.versioned import Record, Versioned


class HistoryDocument(Versioned):
    """What was measured before, the newest first."""

    WHAT = "history --json"

    schema_version: int = 2  # 1 had no accuracies
    entries: tuple[Entry, ...]


class _Latencies(Record):
    """Latencies in nanoseconds with their intervals, and by how much each figure changed."""

    before_ns: Interval
    after_ns: Interval
    change: Interval
    judged_by: str
    median_change: Interval
    low_change: Interval
    size_change: float


class _Counts(Record):
    """Instruction counts; ``repeats_to`` is the share to which they repeat."""

    before_instructions: int
    after_instructions: int
    change: float
    repeats_to: float
    size_change: float


class _Accuracies(Record):
    """A figure of accuracy; there is no ``change`` where nothing is known of chance."""

    figure: str
    unit: str
    before: float
    after: float
    change: Difference | None
    size_change: float
    paired: bool


class _Compared(Record):
    name: str
    verdict: str
    doubts: tuple[str, ...]


class ComparedLatencies(_Compared, _Latencies):
    """A file of two results of latencies."""


class ComparedCounts(_Compared, _Counts):
    """A file of two results of instruction counts."""


class ComparedAccuracies(_Compared, _Accuracies):
    """A file of two evaluations."""


class ComparedResults(Record):
    """Two results of one kind; ``of`` is their name."""

    of: str
    files: tuple[ComparedLatencies | ComparedCounts | ComparedAccuracies, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    cautions: tuple[str, ...]


class ComparisonDocument(Versioned):
    """What changed between two results, folders of them, or revisions."""

    WHAT = "compare --json"

    schema_version: int = 3  # 1 held one comparison, of latencies; 2 no figure beside the median
    comparisons: tuple[ComparedResults, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


class _Gated(Record):
    name: str
    outcome: str
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]


class GatedLatencies(_Gated, _Latencies):
    """The verdict on a file's latency."""


class GatedCounts(_Gated, _Counts):
    """The verdict on a file's instructions."""


class GatedAccuracies(_Gated, _Accuracies):
    """The verdict on a file's accuracy."""


class GatedResults(Record):
    """The verdict on two results of one kind."""

    of: str
    outcome: str
    files: tuple[GatedLatencies | GatedCounts | GatedAccuracies, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    remarks: tuple[str, ...]


class GateDocument(Versioned):
    """What a gate says."""

    WHAT = "gate --json"

    schema_version: int = 1
    outcome: str
    gates: tuple[GatedResults, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


class FileThere(Record):
    """Whether a Python of the device runs a file; ``reason`` is null where it does."""

    file: str
    python: str
    reason: str | None


class ProbeDocument(DeviceFacts, Versioned):
    """What a device is, and with ``--bundle`` which files run there."""

    WHAT = "devices probe --json"

    schema_version: int = 1
    files: tuple[FileThere, ...] | None = None


class CachedResult(Record):
    """A result in a sweep's cache: when it was last used (ISO 8601), and its seconds of making."""

    path: str
    kind: str
    bytes: int
    used: str
    seconds: float


class CacheDocument(Versioned):
    """What a sweep's cache holds."""

    WHAT = "cache ls --json"

    schema_version: int = 1
    results: tuple[CachedResult, ...]


class Failure(Record):
    """What happened, and what to do about it."""

    message: str
    hint: str


class FailureDocument(Versioned):
    """What a failed command prints in place of its result."""

    WHAT = "any command with --json"

    schema_version: int = 1
    error: Failure
    exit_code: int
