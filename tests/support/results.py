"""Results made up from samples, for tests of what reads results."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from typing import Any

import numpy as np
from PIL import Image

from edgeconv.bench import BenchOptions, BenchResult
from edgeconv.bench.instructions import CountedModel, CountOptions, CountResult
from edgeconv.bench.result import ModelFile, ModelResult, ProcessRun
from edgeconv.device import Runtime
from edgeconv.device.emulated import InstructionCounts
from edgeconv.device.messages import Conditions, Machine
from edgeconv.evaluation import (
    Accuracy,
    AgainstFloat,
    Evaluation,
    Picture,
    packed,
    packed_classes,
    top1_figure,
)

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
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
    name: str,
    medians: list[int],
    *,
    size: int = 1000,
    version: str = "2.3",
    disturbed: Collection[int] = (),
) -> ModelResult:
    """Make up one process per median; its samples lie closely around it.

    ``disturbed`` are the places of processes that stayed disturbed.
    """
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
            elapsed_ns=5 * median,
            complete=True,
            before=CALM,
            after=CALM,
            outputs=(),
            disturbances=("others used 1.0 cores",) if index in disturbed else (),
        )
        for index, median in enumerate(medians)
    )
    # Files of other speed are other files.
    digest = hashlib.sha256(repr(medians).encode()).hexdigest()
    file = ModelFile(name=name, bytes=size, sha256=digest)
    return ModelResult(file=file, processes=runs)


def made_result(*models: ModelResult, **changes: Any) -> BenchResult:
    result = BenchResult(
        edgeconv_version="0",
        started=STARTED,
        device="local",
        machine=MACHINE,
        options=BenchOptions(),
        models=models,
        warnings=(),
    )
    return result.model_copy(update=changes)


def made_counts(
    counts: Mapping[str, int],
    *,
    cpu: str = "cortex-a72",
    size: int = 1000,
    sha256: str = "0" * 64,
    runtime: Runtime = Runtime.LITERT,
    **changes: Any,
) -> CountResult:
    """Make up instruction counts, one per file."""
    models = tuple(
        CountedModel(
            file=ModelFile(name=name, bytes=size, sha256=sha256),
            runtime=runtime,
            runtime_version="2.3.0",
            python="3.11.2",
            numpy="2.4.6",
            counts=InstructionCounts(total=total, simd=total // 2),
            outputs=(),
        )
        for name, total in counts.items()
    )
    result = CountResult(
        edgeconv_version="0",
        started=STARTED,
        device="emulated:pi4",
        board="Raspberry Pi 4",
        cpu=cpu,
        options=CountOptions(),
        models=models,
    )
    return result.model_copy(update=changes)


def made_evaluation(outcomes: Mapping[str, Any], *, size: int = 1000, **changes: Any) -> Evaluation:
    """Make up an evaluation: each file is right in the samples whose outcome is true."""
    right = {path: np.asarray(given, dtype=np.bool_) for path, given in outcomes.items()}
    results = tuple(
        Accuracy(
            path=path,
            bytes=size,
            runtime="litert 2.3",
            figures=(top1_figure(float(given.mean()), len(given)),),
            outcomes=packed(given),
        )
        for path, given in right.items()
    )
    evaluation = Evaluation(
        task="classification",
        data="digits.npz",
        data_sha256="0" * 64,
        samples=len(next(iter(right.values()))),
        skipped=(),
        results=results,
    )
    return evaluation.model_copy(update=changes)


def made_classes(
    true: list[int],
    predicted: Mapping[str, list[int]],
    *,
    classes: int,
    labels: tuple[str, ...] | None = None,
    pictured: Collection[int] = (),
) -> Evaluation:
    """Make up what files said of samples; the first file is the float32 one.

    Args:
        true: The class of each sample.
        predicted: What each file takes the samples for.
        classes: How many classes there are.
        labels: Their names.
        pictured: The samples with pictures.
    """
    reference = next(iter(predicted))
    against = AgainstFloat(path=reference, change=0.0, low=None, high=None)
    right = {path: np.array(said) == np.array(true) for path, said in predicted.items()}
    return Evaluation(
        task="classification",
        data="digits.npz",
        data_sha256="0" * 64,
        samples=len(true),
        skipped=(),
        results=tuple(
            Accuracy(
                path=path,
                bytes=1000,
                runtime="litert 2.3",
                figures=(top1_figure(float(right[path].mean()), len(true)),),
                outcomes=packed(right[path]),
                against_float=None if path == reference else against,
                predictions=packed_classes(np.array(said), classes),
            )
            for path, said in predicted.items()
        ),
        classes=classes,
        labels=labels,
        truths=packed_classes(np.array(true), classes),
        pictures=tuple(Picture(sample=index, png=made_png(index)) for index in pictured),
    )


def made_png(seed: int) -> str:
    """Make up a picture of 8x8 pixels, in base64."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode("ascii")
