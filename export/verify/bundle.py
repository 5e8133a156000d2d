"""Verify a bundle on disk, perhaps on another machine than the one that made it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import OPEN, Artifact, Bundle, Manifest, TensorInfo
from edgeconv.checksums import check_checksums
from edgeconv.errors import BundleError
from edgeconv.export.data.samples import Sample
from edgeconv.export.elsewhere import ElsewhereRunner, readable
from edgeconv.export.joined import Parts
from edgeconv.export.verify.expected import Outputs, Reference
from edgeconv.export.verify.parity import MAX_ERROR, verify_artifacts
from edgeconv.export.verify.reference import load_reference
from edgeconv.place import Place
from edgeconv.progress import Progress, no_progress
from edgeconv.verification import Verification
from edgeconv.versioned import Versioned


class VerificationReport(Versioned):
    """``edgeconv verify --json``: figures by the artifact's path.

    ``unchanged`` has the names of the files that are, byte for byte, what the export wrote.
    """

    OLDER = (1,)

    schema_version: int = 2
    unchanged: tuple[str, ...] = ()
    artifacts: dict[str, Verification]


def verify_bundle(
    bundle: Bundle,
    *,
    quick: bool = False,
    place: Place | None = None,
    progress: Progress = no_progress,
) -> VerificationReport:
    """Run every file of a bundle on its runtime against the stored outputs of the network.

    Files that no runtime of a place reads are left out, with a warning.

    The operators of integer files are not checked one by one again: that takes the quantized graph,
    which only the export has.

    Args:
        bundle: The bundle.
        quick: Whether to compare only the checksums; no file is run then.
        place: Where the files run; None is here.
        progress: Called with (step, done, total), a file at a time.

    Raises:
        BundleError: A file was changed, is missing, or does not belong to the bundle.
        EdgeconvError: A runtime refuses its file, or the place was lost.
    """
    unchanged = check_checksums(bundle)
    if quick:
        return VerificationReport(unchanged=unchanged, artifacts={})
    reference = load_reference(bundle)
    _refuse_misfit(bundle, reference)
    compute = None if place is None else partial(_elsewhere, place, bundle)
    verified = verify_artifacts(bundle.path, readable(bundle, place), reference, compute, progress)
    for error in verified.refused.values():
        raise error
    return VerificationReport(unchanged=unchanged, artifacts=verified.figures)


def _elsewhere(
    place: Place, bundle: Bundle, artifact: Artifact, samples: Sequence[Sample]
) -> tuple[str, list[Outputs]]:
    runner = ElsewhereRunner(place, bundle, artifact)
    outputs = list(runner.run_all(samples))
    return runner.name, outputs


def _refuse_misfit(bundle: Bundle, reference: Reference) -> None:
    """Refuse a manifest and a reference that were not made for each other.

    Raises:
        BundleError: Numbers, shapes or types in them contradict each other.
    """
    manifest, samples = bundle.manifest, len(reference.inputs)
    rows = [reference.outputs, *(q.outputs for q in reference.quantized.values() if q.outputs)]
    quantized = [a.precision for a in manifest.artifacts if a.precision not in MAX_ERROR]
    pairs = {precision for precision in quantized if quantized.count(precision) > 1}
    allowed = next(iter(reference.allowances))
    fits = (
        samples > 0
        and all(_have_shapes(sample, manifest.inputs) for sample in reference.inputs)
        and all(len(row) == samples for row in rows)
        and all(_have_shapes(outputs, manifest.outputs) for row in rows for outputs in row)
        and all(len(q.steps) == len(manifest.outputs) for q in reference.quantized.values())
        and pairs <= set(reference.quantized)
        and (allowed is None or allowed.shape == (samples, len(manifest.outputs)))
        and all(map(_fit_parts, reference.joined, manifest.outputs))
    )
    if not fits:
        raise BundleError(
            f"{bundle.path}: the reference does not fit the manifest", hint="export again"
        )
    for artifact in manifest.artifacts:
        if not _fits(artifact, manifest):
            raise BundleError(
                f"{bundle.path}: the inputs or outputs of {artifact.path} contradict those of the "
                "network",
                hint="export again",
            )


def _have_shapes(arrays: Sequence[npt.NDArray[Any]], infos: Sequence[TensorInfo]) -> bool:
    return len(arrays) == len(infos) and all(map(_has_shape, arrays, infos))


def _has_shape(array: npt.NDArray[Any], info: TensorInfo) -> bool:
    return array.ndim == len(info.shape) and all(
        stated in (OPEN, size) for stated, size in zip(info.shape, array.shape, strict=True)
    )


def _fit_parts(parts: Parts | None, info: TensorInfo) -> bool:
    if parts is None:
        return True
    labels = parts.labels
    return labels.shape == info.shape and set(labels.ravel().tolist()) == set(
        range(len(parts.names))
    )


def _fits(artifact: Artifact, manifest: Manifest) -> bool:
    return (
        len(artifact.inputs) == len(manifest.inputs)
        and len(artifact.outputs) == len(manifest.outputs)
        and all(map(_is_usable, (*artifact.inputs, *artifact.outputs)))
    )


def _is_usable(info: TensorInfo) -> bool:
    """Whether values can be converted to a type and scale, as :mod:`edgeconv.export.runtimes` does.

    A dimension that NHWC moves has to be there.
    """
    try:
        kind = np.dtype(info.dtype).kind
    except (TypeError, ValueError, SyntaxError):
        return False
    quantized = info.scale is not None and info.zero_point is not None
    moved = info.layout is not None and len(info.shape) < 2
    return not (moved or (quantized and (kind not in "iu" or not info.scale)))
