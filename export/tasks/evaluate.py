"""How well every file of a bundle does its task, each on its own runtime."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.bundle import Artifact, Bundle, Precision
from edgeconv.errors import DataError, NoSamples, UsageError
from edgeconv.evaluation import (
    Accuracy,
    AgainstFloat,
    Evaluation,
    Picture,
    difference,
    packed,
    packed_classes,
    packed_scores,
)
from edgeconv.export.data.batches import in_groups, join
from edgeconv.export.data.samples import Sample, batch_size, unread
from edgeconv.export.data.truth import Labeled
from edgeconv.export.elsewhere import ElsewhereRunner, readable
from edgeconv.export.runtimes import Runner, open_runner
from edgeconv.export.tasks import open_task
from edgeconv.export.tasks.beyond_range import RangeWatch
from edgeconv.export.tasks.changed import ChangedSamples
from edgeconv.export.tasks.task import Arrays, Scored, Task, of_batch
from edgeconv.place import Place
from edgeconv.progress import Progress, no_progress

logger = logging.getLogger(__name__)

__all__ = ["Evaluation", "evaluate"]

# What was counted is merged so often, which bounds its memory.
_PARTS = 256


def evaluate(
    bundle: Bundle,
    data: Path | Any,
    progress: Progress = no_progress,
    *,
    task: str | Task[Any, Any] = "classification",
    truth: Path | None = None,
    place: Place | None = None,
    pictures: int = 0,
) -> Evaluation:
    """Measure how well every artifact does a task, in one pass over the data.

    Args:
        bundle: The files.
        data: The samples, with their truth or without: what the task takes.
        progress: Called after every batch.
        task: The task, or its name as :func:`edgeconv.export.tasks.open_task` takes it.
        truth: Where the truth of the samples is, if not in ``data``.
        place: Where the files run; None is here.
        pictures: How many samples that int8 gives another class than float32 are kept with their
            pictures, the first ones: at most ``edgeconv.evaluation.MOST_PICTURES``.

    Raises:
        UsageError: There is no such data or task, or the outputs do not fit the task.
        DataError: The data does not fit the network.
    """
    task = open_task(task) if isinstance(task, str) else task
    labeled = open_labeled(bundle, data, task, truth)
    counts = count(bundle, labeled, task, progress, place=place, pictures=pictures)
    return conclude(bundle, labeled, task, [counts], data)


@dataclass(frozen=True)
class Counts:
    """What was counted on a part of the data.

    Attributes:
        runtimes: What ran each file, by its path; others were not run.
        of_file: What the task counted for each file, in the order of ``runtimes``.
        samples: How many samples it is from.
        skipped: The names of those that could not be read.
        pictures: Samples that int8 changed.
    """

    runtimes: Mapping[str, str]
    of_file: Sequence[Any]
    samples: int
    skipped: Sequence[str]
    pictures: Sequence[Picture] = ()


def open_labeled(
    bundle: Bundle, data: Any, task: Task[Any, Any], truth: Path | None
) -> Labeled[Any]:
    """Open the data of a task for a bundle, as :func:`evaluate` does.

    Raises:
        UsageError: There is no such data, the outputs do not fit the task, or the inputs have no
            common batch.
        DataError: The data does not fit the network.
    """
    _batch(bundle)
    return task.open(data, truth, bundle.manifest)


def _batch(bundle: Bundle) -> int:
    batch = batch_size(bundle.manifest.inputs)
    if batch is None:
        raise UsageError(
            f"evaluate runs batches, and the inputs of {bundle.path} have no first dimension in "
            "common",
            hint="export it with the batch as the first dimension of every input",
        )
    return batch


def count(
    bundle: Bundle,
    labeled: Labeled[Any],
    task: Task[Any, Any],
    progress: Progress = no_progress,
    *,
    part: range | None = None,
    place: Place | None = None,
    pictures: int = 0,
) -> Counts:
    """Run every artifact on a part of the data, and count what the task counts.

    Args:
        bundle: The files.
        labeled: The data, opened by ``task``.
        task: The task.
        progress: Called after every batch.
        part: The indices of the samples; None is all of them. At batch 1, what was counted on
            parts comes to the bit to what is counted on all.
        place: Where the files run; None is here.
        pictures: How many samples that int8 changed to keep, of ``evaluate``.

    Raises:
        UsageError: No file can run there.
        DataError: An output is no number, or does not fit the task.
    """
    artifacts = readable(bundle, place)
    batch = _batch(bundle)
    part = range(labeled.total) if part is None else part
    runners = [_open(bundle, artifact, place) for artifact in artifacts]
    portion = min(runner.portion for runner in runners)
    counted: list[list[Any]] = [[] for _ in artifacts]
    changed = ChangedSamples(artifacts, bundle.manifest, pictures)
    watch, samples = RangeWatch(bundle), 0
    for groups in in_groups(in_groups(labeled.read(part), batch), portion):
        batches = [join([sample for sample, _ in group], batch) for group in groups]
        found = [_counted(runner, batches, groups, batch, task) for runner in runners]
        for parts, more in zip(counted, found, strict=True):
            parts += more
            if len(parts) >= _PARTS:
                parts[:] = [task.merge(parts)]
        for group, each in zip(groups, zip(*found, strict=True), strict=True):
            changed.look([sample for sample, _ in group], each)
            for sample, _ in group:
                watch.look(sample)
        samples += sum(map(len, groups))
        progress("Evaluating", samples, len(part))
    watch.warn()
    return Counts(
        runtimes={a.path: runner.name for a, runner in zip(artifacts, runners, strict=True)},
        of_file=[task.merge(parts) for parts in counted] if samples else [],
        samples=samples,
        skipped=tuple(labeled.skipped),
        pictures=tuple(changed.pictures),
    )


def conclude(
    bundle: Bundle,
    labeled: Labeled[Any],
    task: Task[Any, Any],
    parts: Sequence[Counts],
    data: Any,
) -> Evaluation:
    """The figures of what was counted on all parts of the data, in their order.

    Args:
        bundle: The files.
        labeled: The data, opened by ``task``.
        task: The task.
        parts: What was counted.
        data: The data as the user named it.

    Raises:
        DataError: No sample could be read, or too few for the figures.
    """
    samples = sum(part.samples for part in parts)
    skipped = [name for part in parts for name in part.skipped]
    full = [part for part in parts if part.samples]
    if not full:
        raise NoSamples(f"{data} holds no usable sample{unread(skipped)}", hint="check the files")
    runtimes = full[0].runtimes
    artifacts = [a for a in bundle.manifest.artifacts if a.path in runtimes]
    merged = [task.merge(of_file) for of_file in zip(*(p.of_file for p in full), strict=True)]
    scored = _scored(task, merged, artifacts)
    for doubt in task.doubts(merged[_reference(artifacts) or 0]):
        logger.warning(doubt)
    classes = scored[0][0].classes
    return Evaluation(
        task=task.name,
        data=data.name if isinstance(data, Path) else type(data).__name__,
        data_sha256=labeled.sha256(),
        samples=samples,
        skipped=tuple(skipped),
        results=tuple(
            _accuracy(artifact, runtimes[artifact.path], found, against)
            for artifact, (found, against) in zip(artifacts, scored, strict=True)
        ),
        classes=None if classes is None else classes.number,
        labels=None if classes is None else bundle.manifest.labels,
        truths=None if classes is None else packed_classes(classes.true, classes.number),
        pictures=tuple(picture for part in parts for picture in part.pictures),
    )


def _scored(
    task: Task[Any, Any], merged: Sequence[Any], artifacts: Sequence[Artifact]
) -> list[tuple[Scored, AgainstFloat | None]]:
    """What each file scores, and what that is beside a float32 file, if there is one."""
    reference = _reference(artifacts)
    if reference is None:
        return [(task.score(each, None), None) for each in merged]
    scored = [task.score(each, merged[reference]) for each in merged]
    return [
        (
            found,
            None
            if artifact.precision is Precision.FLOAT32
            else _against(artifacts[reference], scored[reference], found),
        )
        for artifact, found in zip(artifacts, scored, strict=True)
    ]


def _reference(artifacts: Sequence[Artifact]) -> int | None:
    """The index of a float32 file, if there is one."""
    return next((i for i, a in enumerate(artifacts) if a.precision is Precision.FLOAT32), None)


def _accuracy(
    artifact: Artifact,
    runtime: str,
    found: Scored,
    against: AgainstFloat | None,
) -> Accuracy:
    classes = found.classes
    return Accuracy(
        path=artifact.path,
        bytes=artifact.bytes,
        runtime=runtime,
        figures=found.figures,
        outcomes=None if found.outcomes is None else packed(found.outcomes),
        scores=None if found.scores is None else packed_scores(found.scores),
        root=found.root,
        against_float=against,
        ties=found.ties,
        predictions=None if classes is None else packed_classes(classes.predicted, classes.number),
    )


def _counted(
    runner: _Here | ElsewhereRunner,
    batches: Sequence[Sample],
    groups: Sequence[Sequence[tuple[Sample, Any]]],
    batch: int,
    task: Task[Any, Any],
) -> list[Any]:
    """What the task counts of a file on each batch."""
    return [
        task.count(_checked(outputs, runner.name, batch, len(group)), [true for _, true in group])
        for group, outputs in zip(groups, runner.run_all(batches), strict=True)
    ]


def _against(artifact: Artifact, expected: Scored, got: Scored) -> AgainstFloat:
    """The first figure less that of a float32 file."""
    change = got.figures[0].value - expected.figures[0].value
    before, after = (
        each.scores if each.outcomes is None else each.outcomes for each in (expected, got)
    )
    if before is None or after is None:
        return AgainstFloat(path=artifact.path, change=change, low=None, high=None)
    found = difference(before, after, paired=True, root=got.root)
    return AgainstFloat(path=artifact.path, change=change, low=found.low, high=found.high)


@dataclass(frozen=True)
class _Here:
    """A runner of this process, which takes one batch at a time."""

    runner: Runner
    portion: int = 1

    @property
    def name(self) -> str:
        return self.runner.name

    def run_all(self, batches: Sequence[Sample]) -> Iterator[Arrays]:
        return map(self.runner.run, batches)


def _open(bundle: Bundle, artifact: Artifact, place: Place | None) -> _Here | ElsewhereRunner:
    if place is not None:
        return ElsewhereRunner(place, bundle, artifact)
    interface = artifact.inputs, artifact.outputs, bundle.manifest
    return _Here(open_runner(bundle.file(artifact), artifact.format, *interface))


def _checked(outputs: Arrays, runtime: str, batch: int, count: int) -> Arrays:
    """The outputs on a batch, whose last samples may only fill it up."""
    for output in outputs:
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            raise DataError(
                f"an output on {runtime} is NaN or infinite", hint="run `edgeconv verify`"
            )
    return [of_batch(output, batch, count) for output in outputs]
