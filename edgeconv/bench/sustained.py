"""Throughput over minutes, against the temperature: what a board holds, not what it can do once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from edgeconv import __version__
from edgeconv.bench.check import check_models
from edgeconv.bench.interference import (
    OTHERS_CORES,
    STOLEN_SHARE,
    others_between,
    stolen_between,
    too_many_threads,
)
from edgeconv.bench.process_events import why_cut
from edgeconv.bench.protocol import LEASE_SECONDS, check_files, request_for
from edgeconv.bench.result import EACH_FILE_ONCE, BenchOptions, ModelFile
from edgeconv.device import Device, RunRequest, Runtime
from edgeconv.device.messages import (
    Conditions,
    Duration,
    Machine,
    Reading,
    Samples,
    Start,
    Warmup,
)
from edgeconv.errors import MeasurementError
from edgeconv.progress import Progress, no_progress
from edgeconv.versioned import Record, Versioned

SLACK_SECONDS = 60.0
READINGS = 60  # in the whole time, but at most one per second
LEAST_READINGS = 10  # for a trend: the first tenth and the last are then a reading each or more


class Stretch(Record):
    """What was measured until a reading, and the reading.

    ``seconds`` are since the beginning. ``others_cores`` is the mean number of cores that other
    processes used meanwhile, and ``stolen_cores`` what a hypervisor took.
    """

    seconds: float
    samples_ns: tuple[Duration, ...]
    conditions: Conditions
    watts: float | None
    others_cores: float
    stolen_cores: float


class SustainedModel(Record):
    """One file.

    ``before`` is the board's state at the beginning; ``cut`` is why it was measured for a shorter
    time than asked; ``rest_ns`` are the samples after the last reading.
    """

    file: ModelFile
    runtime: Runtime
    runtime_version: str
    machine: Machine
    before: Conditions
    stretches: tuple[Stretch, ...] = Field(min_length=1)
    cut: str | None = None
    rest_ns: tuple[Duration, ...] = ()

    def throughput(self, first: int, last: int) -> float:
        """Inferences per second of the stretches from ``first`` up to ``last``, exclusive."""
        begin = self.stretches[first - 1].seconds if first else 0.0
        runs = sum(len(stretch.samples_ns) for stretch in self.stretches[first:last])
        return runs / (self.stretches[last - 1].seconds - begin)

    @property
    def lost(self) -> float | None:
        """Share of the throughput that the last tenth lost against the first.

        It is negative if the throughput rose, and None where there are too few readings for a
        trend.
        """
        count = len(self.stretches)
        if count < LEAST_READINGS:
            return None
        tenth = count // 10
        return 1 - self.throughput(count - tenth, count) / self.throughput(0, tenth)

    @property
    def joules(self) -> float | None:
        """Energy of one inference, of the rails that the board measures; None if it does not."""
        powers = [stretch.watts for stretch in self.stretches if stretch.watts is not None]
        if not powers:
            return None
        return sum(powers) / len(powers) / self.throughput(0, len(self.stretches))


class SustainedResult(Versioned):
    """Everything that one session measured.

    ``seconds`` were asked for each file; ``cut`` is why not all of it was measured; ``warnings``
    are reasons to distrust it.
    """

    WHAT = "a result of edgeconv bench --sustained"

    schema_version: int = 2  # 1 had no figures of what other processes used
    kind: Literal["sustained"] = "sustained"
    edgeconv_version: str
    started: datetime
    device: str
    options: BenchOptions
    seconds: float
    models: Annotated[tuple[SustainedModel, ...], EACH_FILE_ONCE] = Field(min_length=1)
    warnings: tuple[str, ...]
    cut: str | None = None


def sustain(
    models: Sequence[Path],
    options: BenchOptions,
    seconds: float,
    device: Device,
    progress: Progress = no_progress,
    *,
    optional: Collection[Path] = (),
) -> SustainedResult:
    """Run every model for ``seconds`` in one process, reading the board's state meanwhile.

    What came before a failure or an interruption is returned, and says why it was cut. Models that
    are ``optional`` are left out if the device cannot run them, and a warning says why.

    Raises:
        UsageError: no file, a file twice, one that is missing or that the runtime does not read.
        MeasurementError: nothing could be measured.
    """
    long = options.model_copy(
        update={"runs": 1, "seconds": seconds, "max_seconds": seconds + SLACK_SECONDS}
    )
    check_files(models, long)
    started = datetime.now(timezone.utc).replace(microsecond=0)
    measured: list[SustainedModel] = []
    cut: str | None = None
    with device.lock(round(3 * seconds) + LEASE_SECONDS) as lock:
        requests = [request_for(path, max(long.sweep), long, device) for path in models]
        checks = check_models(models, requests, options.inputs, device, optional)
        left_out = [checked.failure.message for checked in checks if checked.failure]
        for index, (path, request, checked) in enumerate(
            zip(models, requests, checks, strict=True)
        ):
            if checked.failure:
                continue
            progress(f"Sustaining {path.name}", index, len(models))
            lock.renew()
            every = {"reading_seconds": max(1.0, seconds / READINGS), "power": True}
            try:
                measured.append(_sustain_one(path, request.model_copy(update=every), device))
                reason = measured[-1].cut
            except (KeyboardInterrupt, MeasurementError) as error:
                if not measured:
                    raise
                reason = why_cut(error)
            if reason is not None:
                cut = f"{path}: {reason}"
                break
    return SustainedResult(
        edgeconv_version=__version__,
        started=started,
        device=device.name,
        options=options,
        seconds=seconds,
        models=tuple(measured),
        warnings=(
            *(f"left out: {reason}" for reason in left_out),
            *_warnings(measured, max(options.sweep)),
        ),
        cut=cut,
    )


def _sustain_one(path: Path, request: RunRequest, device: Device) -> SustainedModel:
    start: Start | None = None
    before: Conditions | None = None
    stretches: list[Stretch] = []
    samples: list[int] = []
    cut: str | None = None
    try:
        with closing(device.run(request)) as events:
            for event in events:
                if isinstance(event, Start):
                    start = event
                elif isinstance(event, Warmup):
                    before = event.conditions
                elif isinstance(event, Samples):
                    samples.extend(event.ns)
                elif isinstance(event, Reading) and before is not None:
                    stretches.append(_stretch(event, samples, before, stretches, device.name))
                    samples = []
    except (KeyboardInterrupt, MeasurementError) as error:
        if not stretches:
            raise
        cut = why_cut(error)
    if start is None or before is None or not stretches:
        raise MeasurementError(
            f"{path} on {device.name}: no reading came", hint="measure for longer"
        )
    return SustainedModel(
        file=ModelFile.of(path),
        runtime=start.runtime,
        runtime_version=start.runtime_version,
        machine=start.machine,
        before=before,
        stretches=tuple(stretches),
        cut=cut,
        rest_ns=tuple(samples),
    )


def _stretch(
    reading: Reading,
    samples: list[int],
    beginning: Conditions,
    earlier: Sequence[Stretch],
    device: str,
) -> Stretch:
    seconds = reading.ns / 1e9
    since, before = 0.0, beginning
    if earlier:
        since, before = earlier[-1].seconds, earlier[-1].conditions
    if seconds <= since or not samples:
        raise MeasurementError(f"{device}: the runner's readings contradict each other")
    return Stretch(
        seconds=seconds,
        samples_ns=tuple(samples),
        conditions=reading.conditions,
        watts=reading.watts,
        others_cores=others_between(before, reading.conditions, seconds - since),
        stolen_cores=stolen_between(before, reading.conditions, seconds - since),
    )


def _warnings(models: Sequence[SustainedModel], threads: int) -> tuple[str, ...]:
    """Throttling and changing frequencies are what is looked for; the work of others is not."""
    found = []
    for model in models:
        name, count = model.file.name, len(model.stretches)
        others = [s.others_cores for s in model.stretches if s.others_cores > OTHERS_CORES]
        if others:
            found.append(
                f"{name}: the machine was busy: before {len(others)} of {count} readings others "
                f"used CPU, up to {max(others):.1f} cores: distrust these figures"
            )
        stolen = [s.stolen_cores for s in model.stretches if s.stolen_cores > STOLEN_SHARE]
        if stolen:
            found.append(
                f"{name}: the hypervisor took up to {max(stolen):.0%} of a core, before "
                f"{len(stolen)} of {count} readings: distrust these figures"
            )
    crowd = too_many_threads(threads, models[0].machine)
    return (*found, *([crowd] if crowd else []))
