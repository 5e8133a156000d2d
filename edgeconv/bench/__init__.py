"""Latency of model files: protocol, statistics, results."""

from __future__ import annotations

from edgeconv.bench.journal import Journal
from edgeconv.bench.protocol import measure, new_session
from edgeconv.bench.result import BenchOptions, BenchResult

__all__ = ["BenchOptions", "BenchResult", "Journal", "measure", "new_session"]
