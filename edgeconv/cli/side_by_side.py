"""The old and the new version of files, measured in turns for a gate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.bench import BenchOptions, BenchResult, measure
from edgeconv.bench.compare.side_by_side import Sides, compare_side_by_side, files_of
from edgeconv.bench.repetition import LEAST, MOST_SECONDS
from edgeconv.bundle import MANIFEST_NAME
from edgeconv.cli.bench_boards import on_the_next_free, pools_named
from edgeconv.cli.bench_files import files_named
from edgeconv.cli.remembering import remember
from edgeconv.device import open_device
from edgeconv.device.boards import Board
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


@dataclass(frozen=True)
class GateSession:
    """How the files of both sides are measured.

    Attributes:
        detect: The change that must be found, as a share.
        wait_seconds: How long to wait for a device that others use.
        most_seconds: About how long to measure.
        store: The history that keeps the result, if not the usual one.
        quiet: Whether no progress is shown.
    """

    detect: float
    wait_seconds: float = 0.0
    most_seconds: float = MOST_SECONDS
    store: str | None = None
    quiet: bool = False


def measured_paths(
    baseline: str, result: str, device: str, session: GateSession
) -> ComparisonReport[LatencyComparison]:
    """Measure two bundles or two model files in turns.

    Args:
        baseline: The one side.
        result: The other one.
        device: Where to measure; of a pool the next free board does.
        session: How.

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
    return _measured(sides, options, device, session)


def measured_again(
    before: BenchResult, after: BenchResult, session: GateSession
) -> ComparisonReport[LatencyComparison]:
    """Measure the files of two results in turns, where and how the newer one was measured.

    Raises:
        UsageError: The files are not at hand any more.
        MeasurementError: The measurement failed.
    """
    sides = Sides.of(files_of(before), files_of(after))
    return _measured(sides, after.options, after.device, session)


def _measured(
    sides: Sides, options: BenchOptions, device: str, session: GateSession
) -> ComparisonReport[LatencyComparison]:
    repetitions = max(options.repetitions, LEAST)
    limit = max(options.max_repetitions, repetitions)
    changes = {
        "repetitions": repetitions,
        "max_repetitions": limit,
        "max_time": session.most_seconds,
        "detect": session.detect or None,
        "in_pairs": True,
    }
    asked = options.model_copy(update=changes)
    (pool,) = pools_named([device])

    def on(board: Board) -> BenchResult:
        with progress("Measuring", session.quiet) as show:
            return measure(sides.files, asked, open_device(board.address), show)

    result = on_the_next_free(pool, session.wait_seconds, on)
    remember(result, session.store)
    return compare_side_by_side(sides, result)
