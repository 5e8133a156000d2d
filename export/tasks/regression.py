"""Regression and keypoints: the root mean square error and the relative error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Manifest
from edgeconv.errors import DataError, MismatchedData, Notice, UsageError
from edgeconv.evaluation import Figure
from edgeconv.export.data.samples import Sample
from edgeconv.export.data.truth import Labeled, as_path, npz_with_truths, rows_with_truths
from edgeconv.export.tasks.other_unit import doubt_of_unit, sums
from edgeconv.export.tasks.task import Arrays, Rows, Scored, first_output

Target = npt.NDArray[Any]

# The errors have to be larger than those of zeros by so many standard errors: those of a network
# that is merely poor are larger or smaller by chance.
_BEYOND_CHANCE = 2
# A number whose targets are so much smaller than those of another adds under 0.01 % to a figure.
_NEXT_TO_NOTHING = 0.01
_MOST_NUMBERS = 64  # of a sample, that may each have a unit of its own


class Regression:
    """The first output has the numbers that ``y`` of an ``.npz`` has, in the same shape.

    A number of ``y`` that is NaN, as of a keypoint that is not visible, counts for nothing; of a
    sample, whose error is the mean over its numbers, at least one has to count.
    """

    name = "regression"

    def open(self, data: Any, truth: Path | None, manifest: Manifest) -> Labeled[Target]:
        """Open an ``.npz`` with ``x`` and ``y``."""
        output = first_output(manifest)
        if np.dtype(output.dtype).kind != "f":
            raise UsageError(
                f"regression takes real numbers, and the first output {output.name!r} is "
                f"{output.dtype} of {list(output.shape)}",
                hint="name another task with --task",
            )
        path = as_path(data, "samples with targets")
        if path.suffix != ".npz":
            raise UsageError(f"{path} is no .npz file", hint="store the targets as 'y' beside 'x'")
        samples, targets = npz_with_truths(path, manifest, "fiu", "numbers")
        if targets.shape[1:] != output.shape[1:] and (*targets.shape[1:], 1) != output.shape[1:]:
            raise MismatchedData(
                f"'y' of {path} holds targets of shape {list(targets.shape[1:])}, the output "
                f"{output.name!r} gives {list(output.shape[1:])}",
                hint="store the targets in the shape of the output, NaN where a point is hidden",
            )
        rows = rows_with_truths(samples, targets)

        def read(asked: Sequence[int]) -> Iterator[tuple[Sample, Target]]:
            for index, (sample, target) in zip(asked, rows.read(asked), strict=True):
                _check(target, f"sample {index} of {path}")
                yield sample, target

        return Labeled(read, rows.total, rows.skipped, rows.sha256)

    def count(self, outputs: Arrays, truths: Sequence[Target]) -> Rows:
        """The mean square of each sample's error and of its targets, and what ``doubts`` needs."""
        errors, targets, of_samples, squares = [], [], [], []
        for output, truth in zip(outputs[0], truths, strict=True):
            target = truth.reshape(output.shape).astype(np.float64)
            counted = ~np.isnan(target)
            wanted, got = target[counted], output[counted].astype(np.float64)
            errors.append(math.fsum(np.square(got - wanted)) / wanted.size)
            targets.append(math.fsum(np.square(wanted)) / wanted.size)
            of_samples.append(sums(got, wanted))
            each = np.nan_to_num(np.square(target)) if target.ndim == 1 else np.zeros(0)
            squares.append(each if each.size <= _MOST_NUMBERS else np.zeros(0))
        columns = errors, targets, of_samples, squares
        return Rows(tuple(map(np.array, columns)))

    def merge(self, parts: Sequence[Rows]) -> Rows:
        """The errors of all samples."""
        return Rows.joined(parts)

    def score(self, counts: Rows, reference: Rows | None) -> Scored:
        """RMSE in the output's own unit, and as a share of the targets' root mean square."""
        errors, targets = counts.arrays[:2]
        count = len(errors)
        error = math.sqrt(math.fsum(errors) / count)
        size = math.sqrt(math.fsum(targets) / count)
        figures = [Figure(name="RMSE", value=error, unit="", better="lower", samples=count)]
        if size:
            figures.append(
                Figure(
                    name="relative error",
                    value=error / size,
                    unit="of the targets",
                    better="lower",
                    samples=count,
                )
            )
        return Scored(tuple(figures), scores=errors, root=True)

    def doubts(self, counts: Rows) -> list[Notice]:
        """Targets in other units, and errors above those of a network that gives zeros."""
        errors, targets, of_samples, squares = counts.arrays
        unit = doubt_of_unit(of_samples)
        if unit is not None:
            return [unit]
        return [*_doubts_of_units(squares), *self._above_zeros(errors, targets)]

    def _above_zeros(self, errors: Target, targets: Target) -> list[Notice]:
        """Errors above those of a network that gives zeros."""
        more = errors - targets
        if not targets.any() or len(more) < 2:
            return []
        if more.mean() <= _BEYOND_CHANCE * more.std(ddof=1) / math.sqrt(len(more)):
            return []
        return [
            Notice(
                "the errors are larger than if every output were 0",
                "check that 'y' is in the unit and in the order of the output; where it is, the "
                "network has not learned to give it, or its weights were not loaded",
            )
        ]


def _doubts_of_units(squares: Target) -> list[Notice]:
    """Numbers whose targets, of squares [N, K], are too small beside others to count."""
    sizes = np.sqrt(squares.mean(0))
    if not sizes.any():
        return []
    small = np.flatnonzero((sizes > 0) & (sizes < _NEXT_TO_NOTHING * sizes.max()))
    if not small.size:
        return []
    least = small[sizes[small].argmin()]
    largest = int(sizes.argmax())
    return [
        Notice(
            f"{small.size} of the {sizes.size} numbers of an output count for next to nothing: the "
            f"targets of number {least} are {sizes[least]:.3g} in the root mean square, those of "
            f"number {largest} {sizes[largest]:.3g}",
            "judge each by itself with --task file.py:metric; int8 has one scale for all of them, "
            "so have the network give them in one unit",
        )
    ]


def _check(target: Target, where: str) -> None:
    """Refuse the target of a sample that is infinite, or NaN throughout."""
    for wrong, what in (
        (np.isinf(target).any(), "is infinite"),
        (np.isnan(target).all(), "is NaN throughout"),
    ):
        if wrong:
            raise DataError(f"'y' of {where} {what}", hint="remove that sample")
