"""Top-1 accuracy of every file of a bundle, each on its own runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.array_file import listed, open_arrays
from edgeconv.bundle import Artifact, Bundle, sha256_of
from edgeconv.errors import DataError, MismatchedData, UsageError
from edgeconv.evaluation import Accuracy, Evaluation, packed
from edgeconv.export.data.arrays import ArrayFile
from edgeconv.export.data.batches import in_groups, join
from edgeconv.export.data.images import ImageFolder
from edgeconv.export.data.labeled import LabeledObject
from edgeconv.export.data.open import open_samples
from edgeconv.export.data.samples import Sample, batch_size, unread
from edgeconv.export.runtimes import Runner, open_runner
from edgeconv.progress import Progress, no_progress

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class _Labeled:
    """Samples with the index of their class.

    Attributes:
        pairs: Each sample with the index of its class.
        total: How many there are, if all are readable.
        skipped: The names of unreadable samples, complete when all pairs were read.
        sha256: Hashes the data, when all pairs were read.
    """

    pairs: Iterator[tuple[Sample, int]]
    total: int
    skipped: list[str]
    sha256: Callable[[], str]


def evaluate(
    bundle: Bundle,
    data: Path | Any,
    progress: Progress = no_progress,
) -> Evaluation:
    """Measure the top-1 accuracy of every artifact in one pass over the data.

    Args:
        bundle: The files.
        data: A folder with a folder of images per class, an ``.npz`` with ``x`` and ``y``, or an
            object as :class:`edgeconv.export.data.labeled.LabeledObject` takes it.
        progress: Called after every batch.

    Raises:
        UsageError: There is no such data, or the network is not a classifier.
        DataError: The data does not fit the network.
    """
    artifacts = bundle.manifest.artifacts
    classes = _classes(bundle)
    batch = batch_size(bundle.manifest.inputs)
    if batch is None:
        raise UsageError(
            f"evaluate runs batches, and the inputs of {bundle.path} have no common first dimension"
        )
    labeled = _open(bundle, data, classes)
    runners = [
        open_runner(
            bundle.file(artifact),
            artifact.format,
            artifact.inputs,
            artifact.outputs,
            bundle.manifest,
        )
        for artifact in artifacts
    ]
    right: list[list[npt.NDArray[np.bool_]]] = [[] for _ in artifacts]
    samples = 0
    for group in in_groups(labeled.pairs, batch):
        inputs = join([sample for sample, _ in group], batch)
        targets = np.array([target for _, target in group], np.int64)
        for outcomes, runner in zip(right, runners, strict=True):
            # The last batch may be filled up: only as many guesses count as there are targets.
            guesses = _scores(runner, inputs).argmax(-1)[: len(targets)]
            outcomes.append(guesses == targets)
        samples += len(targets)
        progress("Evaluating", samples, labeled.total)
    if samples == 0:
        raise DataError(f"{data} holds no usable sample{unread(labeled.skipped)}")
    return Evaluation(
        data=data.name if isinstance(data, Path) else type(data).__name__,
        data_sha256=labeled.sha256(),
        samples=samples,
        skipped=tuple(labeled.skipped),
        results=tuple(
            _accuracy(artifact, runner, np.concatenate(outcomes))
            for artifact, runner, outcomes in zip(artifacts, runners, right, strict=True)
        ),
    )


def _accuracy(artifact: Artifact, runner: Runner, right: npt.NDArray[np.bool_]) -> Accuracy:
    return Accuracy(
        path=artifact.path,
        bytes=artifact.bytes,
        runtime=runner.name,
        top1=float(right.mean()),
        correct=int(right.sum()),
        outcomes=packed(right),
    )


def _scores(runner: Runner, batch: Sample) -> npt.NDArray[Any]:
    scores = runner.run(batch)[0]
    if not np.isfinite(scores).all():
        raise DataError(
            f"an output on {runner.name} is NaN or infinite", hint="run `edgeconv verify`"
        )
    return scores


def _classes(bundle: Bundle) -> int:
    shape = bundle.manifest.outputs[0].shape
    if len(shape) != 2 or shape[1] < 2:
        raise UsageError(
            f"evaluate measures classifiers; the first output of {bundle.path} has shape "
            f"{list(shape)}"
        )
    return shape[1]


def _open(bundle: Bundle, data: Path | Any, classes: int) -> _Labeled:
    manifest = bundle.manifest
    if not isinstance(data, Path):
        found = LabeledObject(data, manifest.inputs, manifest.preprocessing, classes)
        total = len(data[-1] if isinstance(data, tuple) else getattr(data, "dataset", data))
        return _Labeled(iter(found), total, [], lambda: found.sha256)
    if data.is_dir():
        folder = open_samples(data, manifest.inputs, manifest.preprocessing)
        assert isinstance(folder, ImageFolder)
        return _open_folder(folder, classes, manifest.labels)
    if data.suffix != ".npz":
        kind = "neither a folder nor an .npz file" if data.exists() else "no such file"
        raise UsageError(
            f"{data}: {kind}", hint="pass a folder of images per class, or an .npz with x and y"
        )
    arrays = open_arrays(data)
    classes_of = arrays.get("y")
    if classes_of is None or len(classes_of.shape) != 1 or classes_of.dtype.kind not in "iu":
        raise MismatchedData(
            f"{data} has no array 'y' of integers; it has {listed(arrays)}",
            hint="store the class index of each sample as 'y' beside 'x'",
        )
    targets = classes_of.whole()
    samples = open_samples(data, manifest.inputs, manifest.preprocessing)
    assert isinstance(samples, ArrayFile)
    if len(targets) != len(samples):
        raise DataError(f"{data} has {len(samples)} samples and {len(targets)} labels")
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        raise DataError(f"{data} has labels outside 0…{classes - 1}")
    pairs = (
        (sample, int(targets[int(name)])) for name, sample in samples.read(range(len(samples)))
    )
    return _Labeled(pairs, len(samples), samples.skipped, lambda: sha256_of(data))


def _open_folder(folder: ImageFolder, classes: int, labels: Sequence[str] | None) -> _Labeled:
    names = {file.relative_to(folder.path).parts[0] for file in folder.files}
    loose = [file for file in folder.files if file.parent == folder.path]
    if loose:
        raise DataError(
            f"{loose[0]} is not in a class folder", hint="sort the images as FOLDER/CLASS/image"
        )
    index = _class_indices(folder.path, sorted(names), classes, labels)
    pairs = (
        (sample, index[name.partition("/")[0]]) for name, sample in folder.read(range(len(folder)))
    )
    return _Labeled(pairs, len(folder), folder.skipped, lambda: _fingerprint(folder))


def _fingerprint(folder: ImageFolder) -> str:
    """The SHA-256 of the names of all files and the SHA-256 of each."""
    digest = hashlib.sha256()
    for file in folder.files:
        name = file.relative_to(folder.path).as_posix()
        digest.update(f"{name}\0{sha256_of(file)}\n".encode())
    return digest.hexdigest()


def _class_indices(
    path: Path, names: list[str], classes: int, labels: Sequence[str] | None
) -> dict[str, int]:
    """Find the class of each folder: by the bundle's labels, as a number, or in sorted order."""
    if labels and all(name in labels for name in names):
        return {name: labels.index(name) for name in names}
    if all(name.isdecimal() and int(name) < classes for name in names):
        return {name: int(name) for name in names}
    if len(names) == classes:
        return {name: index for index, name in enumerate(names)}
    raise DataError(
        f"{path} has {len(names)} class folders and the network {classes} outputs",
        hint="name the folders by index, or by the labels given at export (--labels)",
    )
