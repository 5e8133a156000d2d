"""The documents that ``sweep --dry-run`` and ``sweep best`` print or write as JSON."""

from __future__ import annotations

from edgeconv.sweep.chain_row import ChainRow
from edgeconv.sweep.confidence import Confidence
from edgeconv.sweep.jobs import ExportJob
from edgeconv.sweep.result import Limits, Row
from edgeconv.versioned import Versioned


class PlannedDocument(Versioned):
    """What a plan would export, and about how many seconds all of it takes."""

    WHAT = "sweep --dry-run --json"

    schema_version: int = 1
    exports: tuple[ExportJob, ...]
    seconds: float


class BestDocument(Versioned):
    """The file, or the chain of files, that keeps to the limits."""

    WHAT = "sweep best --json"

    schema_version: int = 1
    limits: Limits
    best: Row | ChainRow


class ChainDocument(Versioned):
    """How the stages of a chain beside it decide: the files, and when a sample leaves."""

    WHAT = "early_exit.json of sweep best --early-exit -o"

    schema_version: int = 1
    confidence: Confidence | None
    thresholds: tuple[float | None, ...]
    stages: tuple[str, ...]
