"""The kinds of measurement of ``edgeconv bench``, each with its progress.

Each keeps its result where the settings say: in a file as JSON, and in the history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from edgeconv.bench import BenchOptions, BenchResult, Journal
from edgeconv.bench.end_to_end import EndToEndResult
from edgeconv.bench.sustained import SustainedResult, sustain
from edgeconv.bench.together import TogetherResult
from edgeconv.cli import bench_session, kept
from edgeconv.cli.bench_files import inside_bundles
from edgeconv.cli.bench_options import BenchSettings
from edgeconv.cli.remembering import remember
from edgeconv.device import open_device
from edgeconv.errors import MeasurementError
from edgeconv.report import end_to_end, instructions, latency, operators, sustained, together
from edgeconv.report.tables import progress
from edgeconv.versioned import Versioned

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from edgeconv.bench.instructions import CountResult
    from edgeconv.bench.profile.profile import OperatorResult

R = TypeVar("R", bound=Versioned)


@dataclass(frozen=True)
class Measured(Generic[R]):
    """A result, how it is shown, and why not all that was asked was measured, if so."""

    result: R
    draw: tuple[Callable[[R], Table | Text | Group], ...]
    note: Callable[[R], list[str]]
    cut: str | None = None

    def tables(self) -> list[Table | Text | Group]:
        """The figures."""
        return [draw(self.result) for draw in self.draw]

    def notes(self) -> list[str]:
        """What the reader of the table must know."""
        return self.note(self.result)


def measure(
    files: list[Path], journal: Journal, settings: BenchSettings, out: Path | None
) -> Measured[Any]:
    """Measure what the journal lacks; the journal is removed when the result is kept elsewhere."""
    total = len(journal.session.rows) * journal.session.options.repetitions
    with bench_session.keeping(journal, total):
        with progress("Measuring", settings.silent) as show:
            result = bench_session.measure_all(files, journal, show)
        kept.made()
        if isinstance(result, BenchResult) and not settings.no_history:
            remember(result, settings.store)
        if out is not None:
            result.save(out)
            kept.made(out)
    journal.remove()
    return _drawn(result)


def _drawn(result: BenchResult | TogetherResult | EndToEndResult) -> Measured[Any]:
    """How a result is shown."""
    if isinstance(result, BenchResult):
        return Measured(result, (latency.latency_table, latency.cost_table), latency.notes)
    if isinstance(result, TogetherResult):
        return Measured(result, (together.together_table,), together.notes)
    return Measured(result, (end_to_end.end_to_end_table,), end_to_end.notes)


def count_on(
    files: list[Path], options: BenchOptions, device: str, settings: BenchSettings
) -> Measured[CountResult]:
    """Count instructions on an emulated board, instead of taking times."""
    from edgeconv.bench.instructions import CountOptions, count
    from edgeconv.device.emulated import EmulatedDevice

    asked = CountOptions(
        runtime=options.runtime,
        seed=options.seed,
        inputs=options.inputs,
        xnnpack=options.xnnpack,
    )
    with _not_resumable("counts"), progress("Counting", settings.silent) as show:
        optional = inside_bundles(settings.paths)
        result = count(files, asked, EmulatedDevice.parse(device), show, optional=optional)
    if not settings.no_history:
        remember(result, settings.store)
    return _saved(Measured(result, (instructions.counts_table,), instructions.notes), settings)


def sustain_on(
    files: list[Path],
    options: BenchOptions,
    seconds: float,
    device: str,
    settings: BenchSettings,
) -> Measured[SustainedResult]:
    """Measure throughput over so many seconds for each file."""
    with (
        _not_resumable("--sustained"),
        progress("Sustaining", settings.silent) as show,
    ):
        optional = inside_bundles(settings.paths)
        result = sustain(files, options, seconds, open_device(device), show, optional=optional)
    return _saved(
        Measured(result, (sustained.sustained_table,), sustained.notes, result.cut), settings
    )


def profile_on(
    files: list[Path], options: BenchOptions, device: str, settings: BenchSettings
) -> Measured[OperatorResult]:
    """Measure the time of each operator."""
    from edgeconv.bench.profile.profile import profile

    with (
        _not_resumable("--operators"),
        progress("Profiling", settings.silent) as show,
    ):
        optional = inside_bundles(settings.paths)
        result = profile(files, options, open_device(device), show, optional=optional)
    if settings.wide:
        return _saved(Measured(result, (operators.operators_table,), operators.notes), settings)
    narrow = operators.narrow_operators_table
    return _saved(Measured(result, (narrow,), operators.narrow_notes), settings)


def _saved(measured: Measured[R], settings: BenchSettings) -> Measured[R]:
    """The same, after its result was written where the settings say."""
    kept.made()
    if settings.out is not None:
        measured.result.save(settings.out)
        kept.made(settings.out)
    return measured


@contextmanager
def _not_resumable(what: str) -> Iterator[None]:
    """Say in an interruption that there is nothing to go on with."""
    try:
        yield
    except KeyboardInterrupt as error:
        kept = f"interrupted; {bench_session.NOTHING_KEPT}, {what} cannot be resumed"
        raise MeasurementError(kept) from error
