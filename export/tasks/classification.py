"""Classification: top-1 and top-5, or top-1 alone for files that give only the label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.bundle import Manifest, OutputKind, TensorInfo
from edgeconv.errors import Notice, UsageError
from edgeconv.evaluation import top1_figure
from edgeconv.export.data.classes import open_classes
from edgeconv.export.data.truth import Labeled
from edgeconv.export.tasks.class_order import order_doubts, other_order
from edgeconv.export.tasks.task import Arrays, Classes, ClassRows, Scored, first_output, share

_TOP = 5


def _instead(output: TensorInfo) -> str:
    """What to do about an output that has no real scores of two or more classes."""
    if np.dtype(output.dtype).kind in "iu":  # indices and scores look alike
        return (
            "where these are classes, export the network without its ArgMax or TopK, and with "
            "--output label or top5; or pass --task file.py:metric"
        )
    if output.shape[1:] == (1,):
        return "for one score, whose threshold nothing states, pass --task file.py:metric"
    return "name another task with --task"


class Classification:
    """The first output has a score for each class, the best classes, or the label.

    Of equal scores the first one counts as larger, as for NumPy's argmax and for run.py. Whether
    the right class is among the best five may then be a matter of its index: probabilities of int8
    are zero for most classes. Such samples are counted.
    """

    name = "classification"

    def __init__(self) -> None:
        self._classes = 0
        self._ranked = True
        self._labels: Sequence[str] | None = None

    def open(self, data: Any, truth: Path | None, manifest: Manifest) -> Labeled[int]:
        """Open samples with their classes, as ``open_classes`` does."""
        self._labels = manifest.labels
        if manifest.output in (OutputKind.LABEL, OutputKind.TOP5):
            self._classes = manifest.classes or 0
            self._ranked = manifest.output is OutputKind.TOP5
            return open_classes(data, truth, manifest, manifest.classes)
        output = first_output(manifest)
        if len(output.shape) != 2 or output.shape[1] < 2 or np.dtype(output.dtype).kind != "f":
            raise UsageError(
                f"classification takes real scores [batch, classes], and the first output "
                f"{output.name!r} is {output.dtype} of {list(output.shape)}",
                hint=_instead(output),
            )
        self._classes = output.shape[1]
        return open_classes(data, truth, manifest, self._classes)

    def count(self, outputs: Arrays, truths: Sequence[int]) -> ClassRows:
        """How many classes come before the right one, which comes first, and the right one."""
        if outputs[0].ndim == 1:  # labels: right, or behind any other class
            labels, truth = outputs[0].astype(np.int32), np.array(truths, np.int32)
            wrong = (labels != truth).astype(np.int32)
            return ClassRows((wrong, labels, truth, np.zeros_like(wrong)))
        if outputs[0].dtype.kind in "iu":  # the best classes: at its place, or behind all of them
            best, truth = outputs[0].astype(np.int32), np.array(truths, np.int32)
            same = best == truth[:, None]
            ranks = np.where(same.any(1), same.argmax(1), best.shape[1]).astype(np.int32)
            return ClassRows((ranks, best[:, 0], truth, np.zeros_like(ranks)))
        scores, right = outputs[0], np.array(truths, np.int64)[:, None]
        of_right = np.take_along_axis(scores, right, 1)
        earlier = np.arange(scores.shape[1]) < right
        better, equal = scores > of_right, scores == of_right
        ranks = (better | (equal & earlier)).sum(1).astype(np.int32)
        tied = (better.sum(1) < _TOP) & ((better | equal).sum(1) > _TOP)
        predicted = scores.argmax(1).astype(np.int32)
        return ClassRows((ranks, predicted, right[:, 0].astype(np.int32), tied.astype(np.int32)))

    def merge(self, parts: Sequence[ClassRows]) -> ClassRows:
        """The same of all samples."""
        return ClassRows.joined(parts)

    def score(self, counts: ClassRows, reference: ClassRows | None) -> Scored:
        """Top-1, and top-5 where there are more than five classes."""
        ranks, predicted, right, tied = counts.arrays
        figures = [top1_figure(float((ranks == 0).mean()), len(ranks))]
        if self._ranked and self._classes > _TOP:
            figures.append(share(f"top-{_TOP}", float((ranks < _TOP).mean()), len(ranks)))
        number = self._classes or 1 + int(max(predicted.max(), right.max()))
        classes = Classes(number, predicted, right)
        return Scored(tuple(figures), outcomes=ranks == 0, classes=classes, ties=int(tied.sum()))

    def doubts(self, counts: ClassRows) -> list[Notice]:
        """Classes in another order than the network's."""
        _, predicted, right, _ = counts.arrays
        pairs, times = np.unique(np.stack((right, predicted)), axis=1, return_counts=True)
        return order_doubts(other_order(pairs[0], pairs[1], times), self._labels)
