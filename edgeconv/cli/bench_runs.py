"""The kinds of measurement of ``edgeconv bench``, each with its progress. ``out``, if any, gets the
result as JSON; ``remember`` keeps it in the history.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.bench import BenchOptions, BenchResult, Journal, Progress
from edgeconv.bench.sustained import SustainedResult, sustain
from edgeconv.cli import bench_session
from edgeconv.device import open_device
from edgeconv.errors import EdgeconvError, MeasurementError, UsageError
from edgeconv.report.tables import error_console, printable, progress

if TYPE_CHECKING:
    from edgeconv.bench.instructions import CountResult
    from edgeconv.bench.profile.profile import OperatorResult

Show = Callable[[Progress], None]


def measure(
    files: list[Path], journal: Journal, quiet: bool, out: Path | None, *, remember: bool
) -> BenchResult:
    """Measure what the journal says and lacks; it goes when the result is kept elsewhere."""
    total = len(files) * journal.session.options.repetitions
    with bench_session.keeping(journal, total):
        with _shown("Measuring", total, quiet) as show:
            result = bench_session.measure_all(files, journal, show)
        if remember:
            _remember(result)
        if out is not None:
            result.save(out)
    journal.remove()
    return result


def count_on(
    files: list[Path],
    options: BenchOptions,
    device: str,
    quiet: bool,
    out: Path | None,
    *,
    remember: bool,
) -> CountResult:
    """Instructions on an emulated board, instead of times."""
    from edgeconv.bench.instructions import CountOptions, count
    from edgeconv.device.emulated import EmulatedDevice

    asked = CountOptions(runtime=options.runtime, seed=options.seed, inputs=options.inputs)
    with _not_resumable("counts"), _shown("Counting", len(files), quiet) as show:
        result = count(files, asked, EmulatedDevice.parse(device), show)
    if remember:
        _remember(result)
    if out is not None:
        result.save(out)
    return result


def sustain_on(
    files: list[Path],
    options: BenchOptions,
    time: str,
    device: str,
    quiet: bool,
    out: Path | None,
) -> SustainedResult:
    """Throughput over a time such as 5m."""
    seconds = sustained_seconds(time)
    with _not_resumable("--sustained"), _shown("Sustaining", len(files), quiet) as show:
        result = sustain(files, options, seconds, open_device(device), show)
    if out is not None:
        result.save(out)
    return result


def profile_on(
    files: list[Path], options: BenchOptions, device: str, quiet: bool, out: Path | None
) -> OperatorResult:
    """Times by operator."""
    from edgeconv.bench.profile.profile import profile

    with _not_resumable("--operators"), _shown("Profiling", len(files), quiet) as show:
        result = profile(files, options, open_device(device), show)
    if out is not None:
        result.save(out)
    return result


@contextmanager
def _not_resumable(what: str) -> Iterator[None]:
    """Say in an interruption that there is nothing to go on with."""
    try:
        yield
    except KeyboardInterrupt as error:
        kept = f"interrupted; {bench_session.NOTHING_KEPT}, {what} cannot be resumed"
        raise MeasurementError(kept) from error


@contextmanager
def _shown(verb: str, total: int, quiet: bool) -> Iterator[Show]:
    with progress(quiet) as bar:
        task = bar.add_task(verb, total=total)

        def show(step: Progress) -> None:
            name = printable(step.file.name)
            bar.update(task, completed=step.index, description=f"{verb} {name}")

        yield show


def sustained_seconds(text: str) -> float:
    """Of a time such as 5m.

    Raises:
        UsageError: it is none, or not from a second to a day.
    """
    match = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)([smh])", text)
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not 1 <= seconds <= 86400:
        raise UsageError(f"--sustained {text}: give a time from 1s to 24h, such as 90s, 5m or 1h")
    return seconds


def _remember(result: BenchResult | CountResult) -> None:
    """Keep the result in the history; a history that cannot be written must not cost the result."""
    from edgeconv.bench.history import History, current_revision, default_path

    try:
        History(default_path()).add(result, current_revision(Path.cwd()))
    except (EdgeconvError, OSError) as error:
        error_console().print(f"note: not kept in the history: {printable(str(error))}")
