"""Stages of a network with early exits: what they read, and what their exits say.

Every stage but the last gives features, which the next one reads, and the logits of its exit, in
this order. The last gives logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Artifact, Bundle, Format
from edgeconv.errors import DataError, EdgeconvError
from edgeconv.scratch import temporary_folder
from edgeconv.sweep.confidence import Confidence, Floats, confidences
from edgeconv.sweep.jobs import CalibrateJob, ExitJob, ExportJob

_EXITS = "exits.npz"
# Of calibration data: export holds back up to a quarter as many samples for verification.
_HELD_BACK = 4

Sample = tuple[npt.NDArray[Any], ...]


@dataclass(frozen=True)
class Exits:
    """What the exits of a chain said of samples, by the format of its files.

    Attributes:
        confidence: Float64 [measures, samples, exits], the measures in the order of ``Confidence``.
        right: Bool [samples, exits].
    """

    confidence: dict[Format, Floats]
    right: dict[Format, npt.NDArray[np.bool_]]

    @classmethod
    def joined(cls, parts: Sequence[Exits]) -> Exits:
        """What they said of the samples of all parts, in their order."""
        return cls(
            {f: np.concatenate([p.confidence[f] for p in parts], 1) for f in parts[0].confidence},
            {f: np.concatenate([p.right[f] for p in parts]) for f in parts[0].right},
        )

    def of(self, format: Format, measure: Confidence) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """The confidence of the early exits in files of a format, and who is right."""
        confidence = self.confidence[format][list(Confidence).index(measure), :, :-1]
        return confidence, self.right[format]


@contextmanager
def inputs_of_stage(
    job: CalibrateJob | ExportJob, exported: Callable[[ExportJob], Bundle]
) -> Iterator[tuple[int | str | None, str | None]]:
    """The input size and calibration data of an export.

    A later stage reads features, so that both are what the float stages before it give.

    Args:
        job: The export, or a part of its calibration.
        exported: Gives the bundle of a stage before it.

    Raises:
        EdgeconvError: The stages before it cannot be exported, or are no chain.
    """
    size, calibration = job.input_size, job.calibration
    has_samples = calibration not in (None, "random")
    if job.stage == 0 or not (has_samples or size is not None):
        yield size, calibration
        return
    before = [exported(stage) for stage in job.stages_before()]
    for stage, bundle in enumerate(before):
        _check_stage(bundle, stage)
    if size is not None:
        size = "x".join(map(str, before[-1].manifest.outputs[0].shape[1:]))
    with temporary_folder() as folder:
        if has_samples:
            features = folder / "features.npy"
            np.save(features, _features(before, str(calibration), job.calibration_size))
            calibration = str(features)
        yield size, calibration


def _features(bundles: Sequence[Bundle], calibration: str, count: int) -> npt.NDArray[Any]:
    """What the last of some float stages gives on calibration data."""
    from edgeconv.export.data.open import choose, open_samples

    first = bundles[0].manifest
    samples = open_samples(calibration, first.inputs, first.preprocessing)
    runners = [_runner(bundle, bundle.manifest.artifacts[0]) for bundle in bundles]
    found = []
    for _, sample in choose(samples, count + count // _HELD_BACK):
        for runner in runners:
            features, _ = runner.run(sample)
            sample = (features,)
        found.append(features)
    return np.concatenate(found)


def _runner(bundle: Bundle, artifact: Artifact) -> Any:
    from edgeconv.export.runtimes import open_runner

    interface = artifact.inputs, artifact.outputs, bundle.manifest
    return open_runner(bundle.file(artifact), artifact.format, *interface)


def _check_stage(bundle: Bundle, stage: int) -> None:
    if len(bundle.manifest.outputs) != 2:
        raise EdgeconvError(
            f"stage {stage} has {len(bundle.manifest.outputs)} outputs, and a stage before the "
            "last gives features and logits",
            hint="return these two, and list only stages of the network",
        )


def check_chain(bundles: Sequence[Bundle]) -> int:
    """The number of classes of a chain.

    Raises:
        EdgeconvError: The bundles are no chain.
    """
    for stage, bundle in enumerate(bundles[:-1]):
        _check_stage(bundle, stage)
        features, reads = bundle.manifest.outputs[0], bundles[stage + 1].manifest.inputs
        if len(reads) != 1 or reads[0].shape != features.shape:
            read = " and ".join(str(list(info.shape)) for info in reads)
            raise EdgeconvError(
                f"stage {stage + 1} reads {read}, and stage {stage} gives {list(features.shape)}",
                hint="make the stages of one network",
            )
    if len(bundles[-1].manifest.outputs) != 1:
        raise EdgeconvError(
            f"stage {len(bundles) - 1} is not the last stage: it has "
            f"{len(bundles[-1].manifest.outputs)} outputs",
            hint="list all stages in the plan",
        )
    shapes = [bundle.manifest.outputs[-1].shape for bundle in bundles]
    if len(shapes[0]) != 2 or shapes[0][1] < 2 or len(set(shapes)) > 1:
        raise EdgeconvError(
            f"the exits of a chain give {', '.join(str(list(shape)) for shape in shapes)}",
            hint="give logits [1, classes] at every exit",
        )
    return shapes[0][1]


def count_exits(job: ExitJob, bundles: Sequence[Bundle], folder: Path) -> None:
    """Run a chain on a part of the data, every stage on every sample, and write what exits say.

    Raises:
        EdgeconvError: The bundles are no chain, or have no format in common.
        DataError: The data does not fit, or an output is no number.
    """
    from edgeconv.export.data.classes import open_classes

    classes = check_chain(bundles)
    labeled = open_classes(job.data, job.truth, bundles[0].manifest, classes)
    part = range(*(labeled.total * place // job.shards for place in (job.index, job.index + 1)))
    runners = {
        format: [_runner(bundle, artifact) for bundle, artifact in zip(bundles, files, strict=True)]
        for format, files in files_by_format(bundles).items()
    }
    sure: dict[str, list[Floats]] = {format.value: [] for format in runners}
    right: dict[str, list[list[bool]]] = {format.value: [] for format in runners}
    for sample, true in labeled.read(part):
        for format, stages in runners.items():
            logits = _logits(stages, sample)
            sure[format.value].append(np.stack([confidences(each) for each in logits], 1))
            right[format.value].append([int(each.argmax()) == true for each in logits])
    measures, exits = len(Confidence), len(bundles)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, each in sure.items():
        arrays[f"confidence_{name}"] = (
            np.stack(each, 1) if each else np.zeros((measures, 0, exits), np.float64)
        )
        arrays[f"right_{name}"] = np.array(right[name], np.bool_).reshape(-1, exits)
    np.savez(folder / _EXITS, **arrays)  # type: ignore[arg-type]  # NumPy's own stubs


def files_by_format(bundles: Sequence[Bundle]) -> dict[Format, list[Artifact]]:
    """The files of a chain in each format that all its stages have.

    Raises:
        EdgeconvError: There is none.
    """
    by_format = [{a.format: a for a in bundle.manifest.artifacts} for bundle in bundles]
    found = {
        format: [each[format] for each in by_format]
        for format in by_format[0]
        if all(format in each for each in by_format)
    }
    if not found:
        raise EdgeconvError(
            "the stages of a chain have no format in common",
            hint="read why files are missing, or name another format",
        )
    return found


def _logits(stages: Sequence[Any], sample: Sample) -> list[npt.NDArray[Any]]:
    """The logits [classes] of every exit."""
    found = []
    for runner in stages:
        *features, logits = runner.run(sample)
        if not np.isfinite(logits).all():
            raise DataError(
                f"an exit on {runner.name} is NaN or infinite", hint="run `edgeconv verify`"
            )
        found.append(logits[0])
        sample = tuple(features)
    return found


def exits_in(folder: Path) -> Exits:
    """What :func:`count_exits` wrote."""
    with np.load(folder / _EXITS, allow_pickle=False) as stored:
        formats = [format for format in Format if f"right_{format.value}" in stored.files]
        return Exits(
            {format: stored[f"confidence_{format.value}"] for format in formats},
            {format: stored[f"right_{format.value}"] for format in formats},
        )
