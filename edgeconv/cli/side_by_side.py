"""The old and the new version of files, measured in turns for a gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.bench import BenchOptions, BenchResult, measure
from edgeconv.bench.compare.side_by_side import Sides, compare_side_by_side, files_of
from edgeconv.bench.repetition import LEAST
from edgeconv.bundle import MANIFEST_NAME
from edgeconv.cli.bench_files import files_named
from edgeconv.cli.remembering import remember
from edgeconv.device import open_device
from edgeconv.errors import UsageError
from edgeconv.report.tables import progress

if TYPE_CHECKING:
    from edgeconv.bench.compare.comparison import ComparisonReport
    from edgeconv.bench.compare.latency import LatencyComparison

MODELS = (".onnx", ".tflite")


def is_measurable(reference: str) -> bool:
    """Whether a name stands for a bundle or a model file, not for a result."""
    path = Path(reference)
    return path.suffix in MODELS or (path / MANIFEST_NAME).is_file()


def measured_paths(
    baseline: str,
    result: str,
    detect: float,
    device: str | None,
    store: str | None,
    *,
    quiet: bool,
) -> ComparisonReport[LatencyComparison]:
    """Measure two bundles or two model files in turns.

    Raises:
        UsageError: One of the two is neither, or they have no file in common.
        MeasurementError: The measurement failed.
    """
    for one, other in ((baseline, result), (result, baseline)):
        if not is_measurable(one):
            raise UsageError(
                f"{other} is a bundle or a model file and {one} is not",
                hint="name two bundles, two model files or two results",
            )
    options = BenchOptions()
    sides = Sides.of(*(files_named((Path(name),), options) for name in (baseline, result)))
    return _measured(sides, options, detect, device or "local", store, quiet=quiet)


def measured_again(
    before: BenchResult, after: BenchResult, detect: float, store: str | None, *, quiet: bool
) -> ComparisonReport[LatencyComparison]:
    """Measure the files of two results in turns, where and how the newer one was measured.

    Raises:
        UsageError: The files are not at hand any more.
        MeasurementError: The measurement failed.
    """
    sides = Sides.of(files_of(before), files_of(after))
    return _measured(sides, after.options, detect, after.device, store, quiet=quiet)


def _measured(
    sides: Sides,
    options: BenchOptions,
    detect: float,
    device: str,
    store: str | None,
    *,
    quiet: bool,
) -> ComparisonReport[LatencyComparison]:
    repetitions = max(options.repetitions, LEAST)
    limit = max(options.max_repetitions, repetitions)
    changes = {"repetitions": repetitions, "max_repetitions": limit, "detect": detect or None}
    asked = options.model_copy(update=changes)
    with progress("Measuring", quiet) as show:
        result = measure(sides.files, asked, open_device(device), show)
    remember(result, store)
    return compare_side_by_side(sides, result)
