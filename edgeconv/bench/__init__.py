"""Latency of model files: protocol, statistics, results."""

from __future__ import annotations

from edgeconv.bench.protocol import Progress, measure
from edgeconv.bench.result import BenchOptions, BenchResult

__all__ = ["BenchOptions", "BenchResult", "Progress", "measure"]
