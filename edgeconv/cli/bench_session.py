"""What a measurement leaves behind when it is cut short, and how it continues."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgeconv.bench import BenchOptions, BenchResult, Journal, measure, new_session
from edgeconv.bench.end_to_end import EndToEndResult, measure_end_to_end
from edgeconv.bench.journal import LATENCY, SUFFIX, Kind, Measures, Session
from edgeconv.bench.process_events import why_cut
from edgeconv.bench.together import TogetherResult, measure_together
from edgeconv.device import open_device
from edgeconv.errors import BusyDevice, EdgeconvError, MeasurementError, UsageError
from edgeconv.progress import Progress
from edgeconv.store.location import default_path

logger = logging.getLogger(__name__)

NOTHING_KEPT = "nothing is kept"


def begin(
    files: Sequence[Path],
    options: BenchOptions,
    device: str,
    out: Path | None,
    of_pool: str | None = None,
    measures: Measures = LATENCY,
    optional: Collection[Path] = (),
) -> Journal:
    """Begin a journal beside the result, or beside the history if the result goes nowhere else.

    Args:
        files: What is measured.
        options: How it is measured.
        device: Where it is measured.
        out: Where the result goes.
        of_pool: The device's name among those of a pool, each of which has a journal of its own.
        measures: What of it is measured.
        optional: Files that are left out if the device cannot run them.

    Raises:
        UsageError: A file or the device cannot be measured, or an unfinished measurement is there.
        MeasurementError: It was interrupted.
    """
    session = new_session(files, options, open_device(device).name, out, measures)
    may_lack = tuple(index for index, file in enumerate(files) if file in optional)
    session = session.model_copy(update={"optional": may_lack})
    try:
        return _begin(session, out, SUFFIX if of_pool is None else f".{of_pool}{SUFFIX}")
    except KeyboardInterrupt as error:
        raise MeasurementError(f"interrupted; {NOTHING_KEPT}") from error


def _begin(session: Session, out: Path | None, suffix: str) -> Journal:
    if out is not None:
        return Journal.create(out.with_name(out.name + suffix), session)
    name = f"{session.started:%Y%m%dT%H%M%S}-{os.getpid()}{suffix}"
    try:
        return Journal.create(default_path().parent / "unfinished" / name, session)
    except EdgeconvError as error:
        logger.warning("nothing is kept if this is cut short: %s", error.message)
        return Journal(session)


def resume(
    path: Path, options: BenchOptions, given: set[str], measures: Measures = LATENCY
) -> Journal:
    """Open the journal of a measurement that was cut short.

    Args:
        path: The journal.
        options: From the command line; only those in ``given`` count.
        given: Parameters that the user stated.
        measures: What the user asks to measure; latencies if that was not stated.

    Raises:
        UsageError: There is no such file, it is damaged, or it was begun with other options.
    """
    journal = Journal.open(path)
    begun = journal.session
    fields = {"affinity" if name == "cpus" else name for name in given}
    asked = {name: value for name, value in options if name in fields}
    merged = begun.options.model_copy(update=asked)
    stated = measures if measures != LATENCY else begun.measures
    journal.check_same(begun.model_copy(update={"options": merged, "measures": stated}))
    return journal


def measure_all(
    files: Sequence[Path], journal: Journal, progress: Progress
) -> BenchResult | TogetherResult | EndToEndResult:
    """Measure what the journal lacks; optional files are left out if they do not run.

    Raises:
        UsageError: the files are not those that the journal was begun with.
        MeasurementError: a model could not be measured.
    """
    session = journal.session
    device, options, frame = open_device(session.device), session.options, session.measures.frame
    optional = {files[index] for index in session.optional}
    if session.measures.kind is Kind.TOGETHER:
        return measure_together(files, options, device, progress, journal=journal)
    if frame is not None:
        return measure_end_to_end(
            files, options, frame, device, progress, journal=journal, optional=optional
        )
    return measure(files, options, device, progress, journal=journal, optional=optional)


@contextmanager
def keeping(journal: Journal, total: int) -> Iterator[None]:
    """Say in the error what was kept of the measurement and how to continue.

    Nothing is kept of a measurement of which no process has ended.

    Raises:
        UsageError: The measurement refused the request.
        BusyDevice: Another harness measures on the device.
        MeasurementError: It failed or was interrupted.
        EdgeconvError: It failed otherwise before any process finished.
    """
    try:
        yield
    except UsageError:
        if not journal.has_processes:
            journal.remove()
        raise
    except (KeyboardInterrupt, EdgeconvError, OSError) as error:
        if journal.path is None or not journal.has_processes:
            journal.remove()
            if isinstance(error, KeyboardInterrupt):
                raise MeasurementError(f"interrupted; {NOTHING_KEPT}") from error
            raise
        command = f"edgeconv bench --resume {shlex.quote(str(journal.path))}"
        kept = _kept(journal, total)
        hints = [error.hint] if isinstance(error, EdgeconvError) and error.hint else []
        hint = "; ".join([*hints, f"continue with `{command}`"])
        kind = BusyDevice if isinstance(error, BusyDevice) else MeasurementError
        raise kind(f"{why_cut(error)}; {kept}", hint=hint) from error


def _kept(journal: Journal, total: int) -> str:
    """What a journal has of the processes of its measurement; --detect decides on their number."""
    done = len(journal.finished)
    verb = "is" if done == 1 else "are"
    if not done:
        return "no process was left in peace, and what they measured is kept"
    if journal.session.options.detect:
        return f"{done} process{'' if done == 1 else 'es'} {verb} kept"
    return f"{done} of {total} processes {verb} kept"
