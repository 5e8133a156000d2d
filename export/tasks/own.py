"""A metric of the user's own: ``file.py:metric``.

The function takes one sample's outputs and its truth, and returns a number; the figure is the mean
over the samples::

    def metric(outputs, truth):
        return float(abs(outputs[0] - truth).max() < 0.1)

``outputs`` is a list of arrays in the order of the network's outputs, without the batch dimension.
``truth`` is the row of ``y`` of an ``.npz`` file, the index of the class of an image, or with a
folder of masks the mask [H, W]. ``metric.better = "lower"`` says that less is better, and
``metric.unit = "mm"`` what the number is in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgeconv.bundle import Manifest
from edgeconv.errors import DataError, Notice, UsageError, first_line
from edgeconv.evaluation import Figure
from edgeconv.export.capture.factory import load_named
from edgeconv.export.data.classes import open_classes
from edgeconv.export.data.masks import open_masks
from edgeconv.export.data.truth import Labeled, npz_with_truths, rows_with_truths
from edgeconv.export.tasks.task import Arrays, Rows, Scored, of_sample, shapes


class OwnMetric:
    """The mean of a function of the user's over the samples.

    Args:
        spec: The file or module and the function.

    Raises:
        UsageError: There is no such function, or its ``better`` is neither "higher" nor "lower".
    """

    def __init__(self, spec: str) -> None:
        self._function: Callable[[list[Any], Any], float] = load_named(spec)
        self.name = Path(spec.rpartition(":")[0]).name + ":" + spec.rpartition(":")[2]
        if not callable(self._function):
            kind = type(self._function).__name__
            raise UsageError(f"{spec} is a {kind}, not a function", hint="pass file.py:function")
        better: Any = getattr(self._function, "better", "higher")
        if better not in ("higher", "lower"):
            raise UsageError(f"{spec}.better is {better!r}", hint="set it to higher or lower")
        self._better: Literal["higher", "lower"] = better
        self._unit = str(getattr(self._function, "unit", ""))

    def open(self, data: Any, truth: Path | None, manifest: Manifest) -> Labeled[Any]:
        """Open any of the layouts that have the truth of a sample."""
        if isinstance(data, Path) and data.suffix == ".npz":
            return rows_with_truths(*npz_with_truths(data, manifest, "fiub", "numbers"))
        if isinstance(data, Path) and truth is not None and not (truth / "data").is_dir():
            return open_masks(data, truth, manifest)
        return open_classes(data, truth, manifest, None)

    def count(self, outputs: Arrays, truths: Sequence[Any]) -> Rows:
        """The metric of each sample."""
        rows = [of_sample(outputs, i, len(truths)) for i in range(len(truths))]
        return Rows((np.array([self._of(*pair) for pair in zip(rows, truths, strict=True)]),))

    def _of(self, outputs: list[Any], truth: Any) -> float:
        try:
            # Every file is held against the same truth, to which the function may write.
            returned = self._function(outputs, deepcopy(truth))
        except Exception as error:  # the user's own code: anything can come out of it
            raise DataError(
                f"{self.name} raised {type(error).__name__}: {first_line(error)}",
                hint=f"call it in Python to see where; it got outputs of shape {shapes(outputs)} "
                f"and a truth of shape {shapes([truth])}",
            ) from error
        try:
            value = float(returned)
        except (TypeError, ValueError) as error:
            kind = f"{type(returned).__name__} of shape {shapes([returned])}"
            raise DataError(
                f"{self.name} returned no number but {'None' if returned is None else kind}",
                hint="return one number for the sample",
            ) from error
        if not math.isfinite(value):
            raise DataError(f"{self.name} returned {value}", hint="return a finite number")
        return value

    def merge(self, parts: Sequence[Rows]) -> Rows:
        """The metric of all samples."""
        return Rows.joined(parts)

    def score(self, counts: Rows, reference: Rows | None) -> Scored:
        """Its mean."""
        (values,) = counts.arrays
        figure = Figure(
            name=self.name.rpartition(":")[2],
            value=math.fsum(values) / len(values),
            unit=self._unit,
            better=self._better,
            samples=len(values),
        )
        return Scored((figure,), scores=values)

    def doubts(self, counts: Rows) -> list[Notice]:
        """None: any number may be right."""
        return []
