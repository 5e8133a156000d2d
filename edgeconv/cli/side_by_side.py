"""The old and the new version of files, measured in turns for a gate."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.bench import BenchOptions, BenchResult, measure
from edgeconv.bench.compare.instructions import INSTRUCTIONS, compare_counts
from edgeconv.bench.compare.latency import LATENCY
from edgeconv.bench.compare.side_by_side import Sides, compare_side_by_side, files_of
from edgeconv.bench.instructions import CountOptions, CountResult, count
from edgeconv.bench.repetition import LEAST, MOST_SECONDS
from edgeconv.bundle import MANIFEST_NAME
from edgeconv.cli.bench_boards import on_the_next_free, pools_named
from edgeconv.cli.bench_files import files_named, inside_bundles
from edgeconv.cli.remembering import remember
from edgeconv.device import open_device
from edgeconv.device.boards import Board, Pool
from edgeconv.device.emulated import EmulatedDevice
from edgeconv.errors import UsageError
from edgeconv.report.tables import progress

if TYPE_CHECKING:
    from edgeconv.bench.compare.comparison import Comparison, ComparisonReport
    from edgeconv.bench.compare.instructions import CountComparison
    from edgeconv.bench.compare.kind import ResultKind
    from edgeconv.bench.compare.latency import LatencyComparison

    AnyReport = ComparisonReport[Comparison[Any, Any]]

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
) -> tuple[ResultKind[Any], AnyReport]:
    """Measure two bundles or two model files in turns; on an emulated board, count instructions.

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
    (pool,) = pools_named([device])
    if pool.boards[0].is_emulated:
        optional = inside_bundles((Path(baseline), Path(result)))
        return INSTRUCTIONS, _counted(sides, optional, pool, session)
    return LATENCY, _measured(sides, options, pool, session)


def measured_again(
    before: BenchResult, after: BenchResult, session: GateSession
) -> ComparisonReport[LatencyComparison]:
    """Measure the files of two results in turns, where and how the newer one was measured.

    Raises:
        UsageError: The files are not at hand any more.
        MeasurementError: The measurement failed.
    """
    sides = Sides.of(files_of(before), files_of(after))
    (pool,) = pools_named([after.device])
    return _measured(sides, after.options, pool, session)


def _counted(
    sides: Sides, optional: Collection[Path], pool: Pool, session: GateSession
) -> ComparisonReport[CountComparison]:
    """Count the instructions of both sides: an emulated board has no latencies."""

    def on(board: Board) -> tuple[CountResult, CountResult]:
        device = EmulatedDevice.parse(board.address)
        old, new = ([pair[side] for pair in sides.pairs.values()] for side in (0, 1))
        with progress("Counting", session.quiet) as show:
            return (
                count(old, CountOptions(), device, show, optional=optional),
                count(new, CountOptions(), device, show, optional=optional),
            )

    before, after = on_the_next_free(pool, session.wait_seconds, on)
    for result in (before, after):
        remember(result, session.store)
    report = compare_counts(before, after)
    return replace(
        report,
        only_before=(*report.only_before, *sides.only_before),
        only_after=(*report.only_after, *sides.only_after),
    )


def _measured(
    sides: Sides, options: BenchOptions, pool: Pool, session: GateSession
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

    def on(board: Board) -> BenchResult:
        with progress("Measuring", session.quiet) as show:
            return measure(sides.files, asked, open_device(board.address), show)

    result = on_the_next_free(pool, session.wait_seconds, on)
    remember(result, session.store)
    return compare_side_by_side(sides, result)
