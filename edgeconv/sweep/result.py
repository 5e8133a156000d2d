"""What a sweep found: a row for each file on each board, and which of them are on the front."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from edgeconv import __version__
from edgeconv.bench.instructions import CountResult
from edgeconv.bench.result import BenchResult, Interval, ModelResult
from edgeconv.bundle import Artifact, Bundle, Format
from edgeconv.device.dispatch import Failure
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.evaluation import Evaluation, Figure
from edgeconv.near_names import did_you_mean
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.chain_row import ChainRow
from edgeconv.sweep.driver import Candidate
from edgeconv.sweep.jobs import CountJob, Job
from edgeconv.sweep.network import Network
from edgeconv.sweep.plan import Question
from edgeconv.sweep.work import bundle_of, failures_of, result_of
from edgeconv.versioned import Record, StoredPath, Versioned


class Row(Record):
    """A file, alone or on one device with one number of threads.

    ``failures`` say why figures are missing; with ``file`` None there is no file.
    """

    network: Network
    bundle: StoredPath | None = None
    file: str | None = None
    format: Format | None = None
    bytes: int | None = None
    sqnr_db: float | None = None
    accuracy: Figure | None = None
    device: str | None = None
    threads: int | None = None
    latency_ns: Interval | None = None
    memory_bytes: int | None = None
    instructions: int | None = None
    failures: tuple[str, ...] = ()
    on_front: bool = False

    @property
    def cost(self) -> float | None:
        """The latency, or else the instructions; None where neither was taken."""
        if self.latency_ns is not None:
            return self.latency_ns.value
        return self.instructions

    @property
    def gain(self) -> float | None:
        """The accuracy, so that more is better; None where it was not evaluated."""
        if self.accuracy is None:
            return None
        sign = 1 if self.accuracy.better == "higher" else -1
        return sign * self.accuracy.value


class Limits(Record):
    """What an answer has to keep to. Of a latency the end of its interval counts."""

    latency_s: float | None = Field(default=None, ge=0)
    bytes: int | None = Field(default=None, ge=0)
    memory_bytes: int | None = Field(default=None, ge=0)

    @classmethod
    def of(cls, question: Question) -> Limits:
        """Those of a plan."""
        return cls(
            latency_s=question.max_latency,
            bytes=question.max_size,
            memory_bytes=question.max_memory,
        )

    @property
    def stated(self) -> bool:
        """Whether there is any."""
        return self != Limits()

    def kept_by(self, row: Row | ChainRow) -> bool:
        """Whether a row keeps to all of them; what was not measured keeps to none.

        Of a chain it is the expected latency, and the size of all its files.
        """
        latency = None if row.latency_ns is None else row.latency_ns.high / 1e9
        pairs = (
            (self.latency_s, latency),
            (self.bytes, row.bytes),
            (self.memory_bytes, row.memory_bytes),
        )
        return all(most is None or (is_ is not None and is_ <= most) for most, is_ in pairs)


class SweepResult(Versioned):
    """The rows of a sweep, those of chains apart, and the limits of its plan's question."""

    WHAT = "a result of edgeconv sweep"
    REDO = "sweep again"
    ERROR = UsageError

    schema_version: int = 1
    kind: Literal["sweep"] = "sweep"
    edgeconv_version: str = __version__
    started: datetime
    limits: Limits
    rows: tuple[Row, ...]
    chains: tuple[ChainRow, ...] = ()

    def best(self, limits: Limits, device: str | None = None) -> Row:
        """The row to deploy: the most accurate one, or the cheapest if accuracy decides nothing.

        Raises:
            UsageError: The rows are of several devices, or none is of ``device``.
            EdgeconvError: None keeps to the limits.
        """
        return _best([row for row in self.rows if row.file is not None], limits, device)

    def best_chain(self, limits: Limits, device: str | None = None) -> ChainRow:
        """The chain to deploy: the most accurate one, and the cheapest of equals.

        Raises:
            UsageError: The chains are of several devices, or none is of ``device``.
            EdgeconvError: None keeps to the limits.
        """
        return _best([row for row in self.chains if row.cost is not None], limits, device)


AnyRow = TypeVar("AnyRow", Row, ChainRow)


def _best(rows: Sequence[AnyRow], limits: Limits, device: str | None) -> AnyRow:
    devices = sorted({row.device for row in rows if row.device is not None})
    if device is not None and device not in devices:
        known = ", ".join(devices) or "no device"
        hint = did_you_mean(device, devices, f"name one of: {known}")
        raise UsageError(f"nothing was measured on {device}", hint=hint)
    if device is None and len(devices) > 1:
        raise UsageError(
            f"the sweep has several devices: {', '.join(devices)}",
            hint="name one with --device",
        )
    if not rows:
        raise UsageError(
            "the sweep has no such files", hint="ask with --early-exit for chains, or without"
        )
    kept = [row for row in rows if device in (None, row.device) and limits.kept_by(row)]
    # Where costs were asked for, a file without one failed there: whether it runs is not known.
    kept = [row for row in kept if row.cost is not None] if devices else kept
    accurate = [row for row in kept if row.gain is not None]
    if not kept and not limits.stated:
        raise EdgeconvError("no file was measured", hint="read why in the notes of the sweep")
    if not kept:
        raise EdgeconvError(
            "no file keeps to the limits", hint="raise a limit, or try smaller networks"
        )
    return min(accurate or kept, key=_order)


def _order(row: Row | ChainRow) -> tuple[float, float, float]:
    cost = float("inf") if row.cost is None else row.cost
    return (-(row.gain or 0.0), cost, row.bytes or 0)


def marked(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows, with those marked that no other of their device beats.

    A row beats another if it is no worse in accuracy, cost (latency, or else instructions) and
    size, as far as these were found for both, and better in one.
    """
    return tuple(
        row.model_copy(
            update={
                "on_front": row.file is not None
                and not any(_beats(other, row) for other in rows if other.device == row.device)
            }
        )
        for row in rows
    )


def _beats(one: Row, other: Row) -> bool:
    mine, others = _figures(one), _figures(other)
    if one.file is None or [a is None for a in mine] != [b is None for b in others]:
        return False
    pairs = [(a, b) for a, b in zip(mine, others, strict=True) if a is not None and b is not None]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _figures(row: Row) -> tuple[float | None, ...]:
    """What is to be small. The size decides only where accuracy or cost is not known."""
    gain = None if row.gain is None else -row.gain
    size = row.bytes if gain is None or row.cost is None else None
    return (gain, row.cost, size)


def rows_of(candidates: Sequence[Candidate], cache: Cache) -> Iterator[Row]:
    """The rows of all candidates that are whole networks, in their order."""
    for candidate in candidates:
        if candidate.job.chain is None:
            yield from rows_of_candidate(candidate, cache)


def rows_of_candidate(candidate: Candidate, cache: Cache) -> Iterator[Row]:
    """The rows of a candidate: its files, on each device."""
    network = Network.of(candidate.job)
    failed = candidate.failures.get(candidate.key)
    if failed is not None:
        yield Row(network=network, failures=(_why("export", failed),))
        return
    bundle, accuracy = bundle_of(candidate.key, cache), _accuracy(candidate, cache)
    for name, why in failures_of(candidate.key, cache).items():
        yield Row(network=network, failures=(f"{name}: {why}",))
    for artifact in bundle.manifest.artifacts:
        verified = artifact.verification
        alone = Row(
            network=network,
            bundle=bundle.path,
            file=artifact.path,
            format=artifact.format,
            bytes=artifact.bytes,
            sqnr_db=None if verified is None else verified.sqnr_db,
            accuracy=accuracy.get(artifact.path),
            failures=_reasons(candidate, "evaluate", candidate.scored),
        )
        found = [*_measured(candidate, cache, alone, artifact)]
        found += _counted(candidate, cache, alone, artifact)
        yield from found or [alone]


def _measured(candidate: Candidate, cache: Cache, alone: Row, artifact: Artifact) -> Iterator[Row]:
    for pool, job in candidate.measured.items():
        why = _reasons(candidate, f"measure on {pool}", job)
        models: list[ModelResult] = []
        if not why:
            result = result_of(BenchResult, job, cache)
            models = [m for m in result.models if m.file.sha256 == artifact.sha256]
            why = tuple(
                f"measure on {pool}: {left.reason}"
                for left in result.left_out
                if left.file.sha256 == artifact.sha256
            )
        for model in models:
            figures = {
                "threads": model.threads,
                "latency_ns": model.summary.median,
                "memory_bytes": None if model.memory is None else model.memory.peak,
            }
            yield alone.model_copy(update={"device": pool, **figures})
        if not models:
            yield alone.model_copy(update={"device": pool, "failures": (*alone.failures, *why)})


def _counted(candidate: Candidate, cache: Cache, alone: Row, artifact: Artifact) -> Iterator[Row]:
    for device, job in candidate.counted.items():
        why = _reasons(candidate, f"count on {device}", job)
        total = None if why else _instructions(job, cache, artifact)
        update = {"device": device, "threads": 1, "instructions": total}
        yield alone.model_copy(update={**update, "failures": (*alone.failures, *why)})


def _instructions(job: CountJob, cache: Cache, artifact: Artifact) -> int:
    models = result_of(CountResult, job, cache).models
    return next(m.counts.total for m in models if m.file.sha256 == artifact.sha256)


def _accuracy(candidate: Candidate, cache: Cache) -> dict[str, Figure]:
    job = candidate.scored
    if job is None or job.key() in candidate.failures:
        return {}
    return {found.path: found.decisive for found in result_of(Evaluation, job, cache).results}


def _reasons(candidate: Candidate, what: str, job: Job | None) -> tuple[str, ...]:
    failure = None if job is None else candidate.failures.get(job.key())
    return () if failure is None else (_why(what, failure),)


def _why(what: str, failure: Failure) -> str:
    return f"{what}: {failure.message}"


def bundle_at(path: Path | None, file: str | None) -> Bundle:
    """The bundle of a row or of a stage, which has its file.

    Raises:
        UsageError: It was pruned from the cache, or has no such file.
        BundleError: It is damaged.
    """
    if path is None or not path.is_dir():
        where = "the result names no bundle" if path is None else f"{path} is not in the cache now"
        raise UsageError(where, hint="sweep again")
    bundle = Bundle.load(path)
    if file not in [artifact.path for artifact in bundle.manifest.artifacts]:
        raise UsageError(f"{path} has no file {file}", hint="sweep again")
    return bundle
