"""Detection: COCO's mean average precision, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Manifest, TensorInfo
from edgeconv.errors import DataError, UsageError, first_line
from edgeconv.export.capture.factory import load_named
from edgeconv.export.data.coco import CocoImage, open_coco
from edgeconv.export.data.fit import place
from edgeconv.export.data.preprocess import image_size
from edgeconv.export.data.truth import Labeled, as_path
from edgeconv.export.tasks.task import Arrays, Rows, Scored, of_sample, shapes, share
from edgeconv.preprocessing import Preprocessing

# The boxes of one sample: corners x1, y1, x2, y2 in pixels of the input, scores, and classes.
Boxes = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]

_OF_BOX = 4


class Detection:
    """Boxes in images, after non-maximum suppression.

    The outputs are boxes [N, M, 4], with corners x1, y1, x2, y2 in pixels of the input, and of each
    box its score and its class [N, M] (scores are real, classes integers). Networks of other
    outputs need a function of the user's that makes that of one sample's outputs::

        def decode(outputs):
            return boxes, scores, classes

    A class is the place of its name among the bundle's labels, if these are COCO's names, or else
    its place among COCO's categories in the order of their numbers, from 0.

    Args:
        decode: The function, as ``file.py:decode``.
    """

    name = "detection"

    def __init__(self, decode: str | None = None) -> None:
        self._decode: Callable[[list[Any]], Boxes] | None = None
        if decode is not None:
            self._decode = load_named(decode)
            if not callable(self._decode):
                raise UsageError(f"{decode} is not a function", hint="pass file.py:function")
        self._order: tuple[int, int, int] = (0, 1, 2)
        self._size = (1, 1)
        self._how = Preprocessing()
        self._numbers: dict[int, int] = {}
        self._annotations: dict[str, Any] = {}

    def open(self, data: Any, truth: Path | None, manifest: Manifest) -> Labeled[CocoImage]:
        """Open images with their boxes, as ``open_coco`` does."""
        _evaluator()  # before the data is read
        if self._decode is None:
            self._order = _order(manifest.outputs)
        labeled, self._annotations = open_coco(as_path(data, "images"), truth, manifest)
        self._size = image_size(manifest.inputs[0])[1:]
        self._how = manifest.preprocessing or Preprocessing()
        self._numbers = _numbers(self._annotations["categories"], manifest.labels)
        return labeled

    def count(self, outputs: Arrays, truths: Sequence[CocoImage]) -> Rows:
        """The boxes as rows [image, x, y, width, height, score, category], and the images."""
        found = [
            self._rows(of_sample(outputs, i, len(truths)), image) for i, image in enumerate(truths)
        ]
        return Rows((np.concatenate(found), np.array([image.number for image in truths], np.int64)))

    def merge(self, parts: Sequence[Rows]) -> Rows:
        """The boxes of all images."""
        return Rows.joined(parts)

    def score(self, counts: Rows, reference: Rows | None) -> Scored:
        """The mean average precision over overlaps from .5 to .95, and at .5."""
        coco, evaluator = _evaluator()
        rows, images = counts.arrays
        with contextlib.redirect_stdout(io.StringIO()):
            truth = coco()
            truth.dataset = self._annotations
            truth.createIndex()
            found = truth.loadRes(rows) if len(rows) else coco()
            evaluation = evaluator(truth, found, "bbox")
            evaluation.params.imgIds = images.tolist()
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        of_all, at_half = (float(value) for value in evaluation.stats[:2])
        if of_all < 0:
            raise DataError(
                "none of the images has an annotated box",
                hint="check that --truth is of these images",
            )
        return Scored(
            (
                share("mAP .5:.95", of_all, len(images), "images"),
                share("mAP .5", at_half, len(images), "images"),
            )
        )

    def _rows(self, outputs: list[Any], image: CocoImage) -> npt.NDArray[np.float64]:
        boxes, scores, classes = self._boxes(outputs)
        at = place((image.width, image.height), self._size, self._how)
        corners = boxes.astype(np.float64).reshape(-1, 2, 2) - (at.left, at.top)
        corners *= image.width / at.width, image.height / at.height
        corners = corners.clip(0, (image.width, image.height))
        numbers = np.array([self._numbers.get(int(each), -1) for each in classes], np.float64)
        rows = np.column_stack(
            (
                np.full(len(boxes), image.number),
                corners[:, 0],
                corners[:, 1] - corners[:, 0],
                scores.astype(np.float64),
                numbers,
            )
        )
        return rows[numbers >= 0]

    def _boxes(self, outputs: list[Any]) -> Boxes:
        """The boxes of one sample."""
        if self._decode is None:
            boxes, scores, classes = (outputs[index] for index in self._order)
            return boxes, scores, classes
        try:
            boxes, scores, classes = map(np.asarray, self._decode(outputs))
        except Exception as error:  # the user's own code: anything can come out of it
            raise DataError(
                f"decode raised {type(error).__name__}: {first_line(error)}",
                hint=f"call it in Python to see where; it got outputs of shape {shapes(outputs)}",
            ) from error
        if boxes.shape != (len(boxes), _OF_BOX) or not len(boxes) == scores.size == classes.size:
            raise DataError(
                f"decode returned boxes {list(boxes.shape)}, scores {list(scores.shape)} and "
                f"classes {list(classes.shape)}",
                hint="return [M, 4], [M] and [M]",
            )
        return boxes, scores.reshape(-1), classes.reshape(-1)


def _order(outputs: Sequence[TensorInfo]) -> tuple[int, int, int]:
    """Which output has the boxes, the scores and the classes.

    Raises:
        UsageError: That cannot be seen from their shapes and types.
    """

    def matching(rank: int, kinds: str) -> list[int]:
        return [
            index
            for index, output in enumerate(outputs)
            if len(output.shape) == rank and np.dtype(output.dtype).kind in kinds
        ]

    boxes = [index for index in matching(3, "f") if outputs[index].shape[2] == _OF_BOX]
    scores, classes = matching(2, "f"), matching(2, "iu")
    if len(boxes) == len(scores) == len(classes) == 1:
        return boxes[0], scores[0], classes[0]
    found = ", ".join(f"{each.name!r} {each.dtype} {list(each.shape)}" for each in outputs)
    raise UsageError(
        "detection takes boxes [batch, M, 4], scores [batch, M] and integer classes [batch, M], "
        f"and the outputs are {found}",
        hint="pass --task detection:file.py:decode with a function that makes them of one sample",
    )


def _numbers(categories: list[dict[str, Any]], labels: Sequence[str] | None) -> dict[int, int]:
    """COCO's number of each class."""
    number_of = {str(each["name"]): int(each["id"]) for each in categories}
    if labels and any(label in number_of for label in labels):
        return {i: number_of[label] for i, label in enumerate(labels) if label in number_of}
    return dict(enumerate(sorted(number_of.values())))


def _evaluator() -> tuple[Any, Any]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise UsageError(
            "the mean average precision needs pycocotools",
            hint="install it with: pip install 'edgeconv[coco]'",
        ) from error
    return COCO, COCOeval
