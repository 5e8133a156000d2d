"""Results made up from samples, for what works on results."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from edgeconv.bench import BenchOptions, BenchResult
from edgeconv.bench.result import ModelFile, ModelResult, ProcessRun, summarize
from edgeconv.device import Runtime
from edgeconv.device.messages import Conditions, Machine

MACHINE = Machine(
    architecture="aarch64",
    system="Linux",
    libc="glibc 2.36",
    board=None,
    cpu="Cortex-A72",
    cores=4,
    cores_allowed=4,
    memory_bytes=None,
    governor="performance",
)
CALM = Conditions(
    load_average=0.0,
    frequencies_hz=(),
    temperature_c=None,
    throttled=None,
    own_cpu_seconds=0.0,
    all_cpu_seconds=0.0,
    stolen_seconds=0.0,
    peak_rss_bytes=None,
)


def made_model(
    name: str, medians: list[int], *, size: int = 1000, version: str = "2.3"
) -> ModelResult:
    """One process a median; its samples lie closely around it."""
    runs = tuple(
        ProcessRun(
            repetition=index,
            order=index,
            runtime=Runtime.LITERT,
            runtime_version=version,
            python="3.11",
            numpy="2.0",
            load_ns=1,
            first_ns=1,
            warmup_runs=1,
            warmup_ns=1,
            warmup_stable=True,
            samples_ns=tuple(median + step for step in (-2, -1, 0, 1, 2)),
            elapsed_ns=1,
            complete=True,
            before=CALM,
            after=CALM,
            outputs=(),
        )
        for index, median in enumerate(medians)
    )
    file = ModelFile(name=name, bytes=size, sha256="0" * 64)
    return ModelResult(file=file, processes=runs, summary=summarize(runs, 0))


def made_result(*models: ModelResult, **changes: Any) -> BenchResult:
    result = BenchResult(
        edgeconv_version="0",
        started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        device="local",
        machine=MACHINE,
        options=BenchOptions(),
        models=models,
        warnings=(),
    )
    return result.model_copy(update=changes)
