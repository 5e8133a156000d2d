"""Export again and again until the int8 files meet a budget."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeconv.bundle import Artifact, Bundle, Manifest, OutputKind, Precision
from edgeconv.errors import UsageError
from edgeconv.evaluation import SHARE
from edgeconv.export import warnings
from edgeconv.export.alone import alone
from edgeconv.export.pipeline import Outcome, run
from edgeconv.export.prepare import find_source
from edgeconv.export.quantize.accuracy.escalation import (
    Assessment,
    Attempt,
    Budget,
    escalate,
    most_attempts,
)
from edgeconv.export.quantize_options import QuantizeOptions
from edgeconv.export.request import Data, ResolvedRequest
from edgeconv.export.search import FrontPoint, along_front, most_along_front
from edgeconv.export.tasks import open_task
from edgeconv.export.tasks.evaluate import evaluate
from edgeconv.export.tasks.trial import try_task
from edgeconv.export.unmet_budget import unmet_budget
from edgeconv.export.verify import check_export
from edgeconv.export.verify.reference import Oracle
from edgeconv.log_lines import warnings_about
from edgeconv.progress import ATTEMPT, Progress
from edgeconv.staging import staged

# The median latency of each file in nanoseconds.
Latency = Callable[[Sequence[Path]], Sequence[float]]
# Float32 rounds at 1e-7 and int8 loses 1e-3 or more; a loss of so many times the figure of the
# float32 file means that this figure is nothing but rounding.
_MOST_TIMES = 1e4
_SUBJECT = "the accuracy budget"
_ONLY_BEST = (OutputKind.LABEL, OutputKind.TOP5)


@dataclass(frozen=True)
class Escalated:
    """What became of a budget.

    Attributes:
        attempts: The attempts.
        bundle: The bundle of the one that met the budget; None if none did.
        front: What accuracy costs by layer, where that was searched.
        budget: The budget.
        others: The files of other precisions than int8 beside those of the last attempt.
    """

    attempts: tuple[Attempt, ...]
    bundle: Bundle | None
    front: tuple[FrontPoint, ...] = ()
    budget: Budget = field(default_factory=Budget)
    others: tuple[Artifact, ...] = ()

    def met(self) -> Bundle:
        """The bundle.

        Raises:
            EdgeconvError: No attempt met the budget.
        """
        if self.bundle is None:
            raise unmet_budget(self.attempts, self.budget, self.others, searched=bool(self.front))
        return self.bundle


def export_within(request: ResolvedRequest, *, latency: Latency | None = None) -> Escalated:
    """Carry out a request with ever more effort for accuracy, until the int8 files meet a budget.

    The order is that of :func:`edgeconv.export.quantize.accuracy.escalation.escalate`, or with a
    search that of :func:`edgeconv.export.search.along_front`. An attempt counts by its worst int8
    file: lowest SQNR, largest loss of accuracy, most bytes, longest latency.

    Args:
        request: What to export, with the budget that the int8 files have to meet.
        latency: Measures files where they will run; None to measure no latency.

    Raises:
        UsageError: The request is wrong; nothing was done.
        EdgeconvError: An attempt failed, and left no bundle.
    """
    asked = request.asked
    budget = Budget(
        asked.least_sqnr,
        asked.accuracy_budget,
        asked.max_size,
        None if asked.max_latency is None else asked.max_latency * 1e9,
    )
    if budget.max_latency_ns is not None and latency is None:
        raise UsageError(
            "a limit of the latency has to be measured", hint="use `edgeconv export --max-latency`"
        )
    labeled = Path(asked.labeled) if isinstance(asked.labeled, str) else asked.labeled
    _check(request, budget, labeled)
    with alone(request.asked.model):
        try:
            with staged(request.out, force=asked.force) as stage:
                found = _within(request, budget, labeled, latency, stage)
                if not found.attempts[-1].met:
                    raise _UnmetBudget
        except _UnmetBudget:
            return found
    return replace(found, bundle=Bundle.load(request.out))


class _UnmetBudget(Exception):  # noqa: N818  # it is no error: the attempts are the answer
    """No attempt met the budget, so that nothing takes the place of the bundle."""


def _within(
    request: ResolvedRequest,
    budget: Budget,
    labeled: Data | None,
    latency: Latency | None,
    folder: Path,
) -> Escalated:
    """Do what :func:`export_within` says; ``folder`` has the files of the last attempt then."""
    asked, source = request.asked, find_source(request.asked)
    front: tuple[FrontPoint, ...] = ()
    others: tuple[Artifact, ...] = ()
    number = 0
    # Where only `repair_to` asks for accuracy, it says by which means, too.
    once = asked.min_sqnr is None and asked.accuracy_budget is None and budget.asks_for_accuracy
    most = None if asked.search else 1 if once else most_attempts(request.quantization, budget)

    def try_labeled(manifest: Manifest, network: Oracle) -> None:
        # A task that does not fit would be found out after the first attempt, which takes minutes.
        truth = None if asked.truth is None else Path(asked.truth)
        with warnings_about(_SUBJECT):
            try_task(open_task(asked.task), labeled, truth, manifest, network)

    def assess(options: QuantizeOptions) -> Assessment:
        nonlocal front, others, number
        number += 1
        progress = _of_attempt(asked.progress, number, most)
        for earlier in folder.iterdir():
            earlier.unlink()
        held.records.clear()
        searching = asked.search and not front
        attempt = replace(request, quantization=options, asked=replace(asked, progress=progress))
        trial = try_labeled if number == 1 and labeled is not None else None
        outcome = run(attempt, source, folder, search=searching, trial=trial)
        front = outcome.front or front
        artifacts = outcome.manifest.artifacts
        others = tuple(each for each in artifacts if each.precision is not Precision.INT8)
        return _assess(request, folder, outcome, labeled, latency)

    with _only_the_last_warns(warnings.logger, check_export.logger) as held:
        base = request.quantization
        if asked.search:
            plain = Attempt.of("as asked", base, budget, assess(base))
            most = 1 + most_along_front(plain, front, budget)
            attempts = [plain, *along_front(plain, front, budget, assess)]
        elif once:
            attempts = [Attempt.of("as asked", base, budget, assess(base))]
        else:
            attempts = escalate(base, budget, assess)
        if not attempts[-1].met:
            held.records.clear()  # they are about files that are not kept
    return Escalated(tuple(attempts), None, front, budget, others)


def _of_attempt(progress: Progress, number: int, most: int | None) -> Progress:
    """Progress whose steps name the attempt that they belong to, where there are several."""
    if most == 1:
        return progress
    where = f"{ATTEMPT}{number}" + ("" if most is None else f" of at most {most}")

    def report(step: str, done: int, total: int) -> None:
        progress(f"{step}{where}", done, total)

    return report


def _check(request: ResolvedRequest, budget: Budget, labeled: Data | None) -> None:
    if Precision.INT8 not in request.precisions or request.asked.calibration is None:
        raise UsageError(
            "a budget applies to int8 files", hint="pass --precision int8 and --calibration"
        )
    if budget.min_sqnr_db is not None and request.asked.output in _ONLY_BEST:
        what = "repair_to" if request.asked.min_sqnr is None else "--min-sqnr"
        raise UsageError(
            f"{what} is for all scores, and --output {request.asked.output.value} gives only "
            "the index of a class, or a few",
            hint="pass --accuracy-budget with --labeled, or another --output",
        )
    if labeled is not None:
        open_task(request.asked.task)  # its function may be missing
    if budget.max_accuracy_drop is not None:
        if labeled is None:
            raise UsageError(
                "--accuracy-budget needs labeled data",
                hint="pass --labeled with what --task takes, such as FOLDER/CLASS/image or an .npz "
                "with x and y",
            )
        if Precision.FLOAT32 not in request.precisions:
            raise UsageError(
                "--accuracy-budget compares with float32", hint="add --precision float32"
            )


def _assess(
    request: ResolvedRequest,
    folder: Path,
    outcome: Outcome,
    labeled: Data | None,
    latency: Latency | None,
) -> Assessment:
    """The figures of the int8 files; of a file that keeps nothing, only what is known of it.

    Raises:
        EdgeconvError: A file failed for another reason.
    """
    lost = {a.path for a in outcome.failed if a.verification and a.verification.keeps_nothing}
    for path, error in outcome.failures.items():
        if path not in lost:
            raise error
    bundle = Bundle(folder, outcome.manifest)
    if lost:
        return Assessment(
            min(a.verification.sqnr_db for a in outcome.failed if a.verification),
            None,
            max(artifact.bytes for artifact in outcome.failed),
            None,
            keeps_nothing=True,
            repaired=outcome.repaired,
        )
    integer = [a for a in bundle.manifest.artifacts if a.precision is Precision.INT8]
    figures = [artifact.verification for artifact in integer]
    return Assessment(
        sqnr_db=min(figure.sqnr_db if figure else -200.0 for figure in figures),
        accuracy_drop=None if labeled is None else _drop(request, bundle, integer, labeled),
        bytes=max(artifact.bytes for artifact in integer),
        latency_ns=None
        if latency is None
        else max(latency([bundle.file(artifact) for artifact in integer])),
        repaired=outcome.repaired,
    )


def _drop(
    request: ResolvedRequest, bundle: Bundle, integer: Sequence[Artifact], labeled: Data
) -> float | None:
    """The first figure of the best float32 file less that of the worst int8 file.

    Of a figure that is no share it is the loss as a share of the float32 file's figure.

    Raises:
        UsageError: That figure is zero but for rounding, as with labels by the network itself.
    """
    asked = request.asked
    truth = None if asked.truth is None else Path(asked.truth)
    with warnings_about(_SUBJECT):  # every attempt would repeat them
        found = evaluate(bundle, labeled, task=asked.task, truth=truth)
    figures = {result.path: result.decisive for result in found.results}
    floats = [
        figures[artifact.path]
        for artifact in bundle.manifest.artifacts
        if artifact.precision is Precision.FLOAT32
    ]
    if not floats:
        return None
    sign = 1.0 if floats[0].better == "higher" else -1.0
    best = max(sign * figure.value for figure in floats)
    loss = best - min(sign * figures[a.path].value for a in integer)
    if floats[0].unit == SHARE or not loss:
        return loss
    if abs(best) * _MOST_TIMES < abs(loss):
        figure = f"{best * sign:.3g} {floats[0].unit}".rstrip()
        raise UsageError(
            f"the {floats[0].name} of the float32 file is {figure}, and no loss is a share of that",
            hint="pass measured labels, not what the network itself computes, or limit the noise "
            "with --min-sqnr",
        )
    return loss / abs(best)


class _HeldBack(logging.Filter):
    """Keeps what is logged instead of letting it through."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def filter(self, record: logging.LogRecord) -> bool:
        self.records.append(record)
        return False


@contextmanager
def _only_the_last_warns(*loggers: logging.Logger) -> Iterator[_HeldBack]:
    """Hold warnings back until the end.

    Every attempt sees the same data and would warn of it again, and of its own failings; those
    count only if the attempt is kept.
    """
    held = _HeldBack()
    for logger in loggers:
        logger.addFilter(held)
    try:
        yield held
    finally:
        for logger in loggers:
            logger.removeFilter(held)
        for record in held.records:
            logging.getLogger(record.name).handle(record)
