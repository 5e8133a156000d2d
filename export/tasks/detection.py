"""Detection: COCO's mean average precision, by pycocotools."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Manifest, TensorInfo
from edgeconv.errors import DataError, Notice, UsageError
from edgeconv.export.capture.factory import load_named
from edgeconv.export.data.coco import CocoImage, open_coco
from edgeconv.export.data.fit import Place, place
from edgeconv.export.data.preprocess import image_size
from edgeconv.export.data.truth import Labeled, as_path
from edgeconv.export.tasks.box_readings import (
    LEAST_OVERLAP,
    found_in_each,
    other_form,
    overlaps,
)
from edgeconv.export.tasks.class_order import doubt_of_order, other_order
from edgeconv.export.tasks.found_boxes import Decode, FoundBoxes, checked, decoded
from edgeconv.export.tasks.task import Arrays, Rows, Scored, of_sample, share
from edgeconv.near_names import did_you_mean
from edgeconv.preprocessing import Preprocessing

logger = logging.getLogger(__name__)

_OF_BOX = 4
_NAMED = 3
# Of each image so many boxes are looked at for doubts, those of the highest scores.
_MOST_LOOKED_AT = 300
# A crop loses a few boxes at the border; if more are lost, the network is not seen at its best.
_MOST_OUTSIDE = 0.02
_NO_BOXES = np.zeros((0, _OF_BOX)), np.zeros(0, np.int64)


class Detection:
    """Boxes in images, after non-maximum suppression.

    The outputs are boxes [N, M, 4], with corners x1, y1, x2, y2 in pixels of the input, and of each
    box its score and its class [N, M] (scores are real, classes integers); or one output [N, M, 6]
    with x1, y1, x2, y2, score, class. Networks of other outputs need a function of the user's that
    makes that of one sample's outputs::

        def decode(outputs):
            return boxes, scores, classes

    A class is the place of its name among the bundle's labels, if these are COCO's names, or else
    its place among COCO's categories in the order of their numbers, from 0.

    Args:
        decode: The function, as ``file.py:decode``.
    """

    name = "detection"

    def __init__(self, decode: str | None = None) -> None:
        self._decode: Decode | None = None
        if decode is not None:
            self._decode = load_named(decode)
            if not callable(self._decode):
                raise UsageError(f"{decode} is not a function", hint="pass file.py:function")
        self._order: tuple[int, int, int] | None = (0, 1, 2)
        self._size = (1, 1)
        self._how = Preprocessing()
        self._numbers: dict[int, int] = {}
        self._classes = 0
        self._true: dict[int, tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]] = {}
        self._sizes: dict[int, tuple[int, int]] = {}
        self._next: dict[int, int] = {}
        self._annotations: dict[str, Any] = {}

    def open(self, data: Any, truth: Path | None, manifest: Manifest) -> Labeled[CocoImage]:
        """Open images with their boxes, as ``open_coco`` does."""
        _evaluator()  # before the data is read
        if self._decode is None:
            self._order = _order(manifest.outputs)
        labeled, self._annotations = open_coco(as_path(data, "images"), truth, manifest)
        self._size = image_size(manifest.inputs[0])[1:]
        self._how = manifest.preprocessing or Preprocessing()
        self._numbers, self._classes = _numbers(self._annotations, manifest.labels, truth)
        self._true = _true_boxes(self._annotations["annotations"], self._numbers)
        listed = self._annotations["images"]
        self._sizes = {each["id"]: (each["width"], each["height"]) for each in listed}
        with_boxes = sorted(self._true)
        self._next = dict(zip(with_boxes, with_boxes[1:] + with_boxes[:1], strict=True))
        return labeled

    def count(self, outputs: Arrays, truths: Sequence[CocoImage]) -> Rows:
        """The boxes as rows [image, x, y, width, height, score, category], and the images.

        With them comes what ``doubts`` needs: a row of each image, and of each true box that was
        found its class and the one that the network gave it.
        """
        rows, looked, pairs = [], [], []
        for index, image in enumerate(truths):
            found = self._found(of_sample(outputs, index, len(truths)))
            at = place((image.width, image.height), self._size, self._how)
            rows.append(self._rows(found, at, image))
            of_image, classes = self._looked(found, image)
            looked.append(of_image)
            pairs.append(classes)
        numbers = np.array([image.number for image in truths], np.int64)
        return Rows((np.concatenate(rows), numbers, np.stack(looked), np.concatenate(pairs)))

    def merge(self, parts: Sequence[Rows]) -> Rows:
        """The boxes of all images."""
        return Rows.joined(parts)

    def score(self, counts: Rows, reference: Rows | None) -> Scored:
        """The mean average precision over overlaps from .5 to .95, and at .5."""
        coco, evaluator = _evaluator()
        rows, images = counts.arrays[:2]
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

    def doubts(self, counts: Rows) -> list[Notice]:
        """Boxes in another form, and classes in another order, than they are taken in."""
        looked, pairs = counts.arrays[2:]
        true, strange, turned, outside, with_boxes, in_pixels, *of_forms = looked.sum(0).tolist()
        doubts = []
        if not len(counts):
            doubts.append(
                Notice(
                    f"no box of a known class was found in {len(looked)} images",
                    "check the threshold of scores in the network or in decode",
                )
            )
        form = _doubt_of_form(np.array(of_forms), true, with_boxes > 0 and not in_pixels)
        if form is not None:
            doubts.append(form)
        if strange:
            doubts.append(
                Notice(
                    f"{strange} boxes are of classes outside 0…{self._classes - 1}, and count for "
                    "nothing",
                    "number the classes from 0, in the order of COCO's categories by their number, "
                    "or export with --labels",
                )
            )
        if turned:
            doubts.append(
                Notice(
                    f"{turned} boxes have x2 below x1 or y2 below y1, and overlap with nothing",
                    "return x1, y1, x2, y2 with --task detection:file.py:decode",
                )
            )
        if outside > _MOST_OUTSIDE * true:
            doubts.append(
                Notice(
                    f"{outside} of {true} true boxes lie outside of what the network sees of their "
                    "image",
                    'export with fit = "letterbox" or "squash" in the file of --preprocess, as in '
                    "training",
                )
            )
        of_number = {number: index for index, number in self._numbers.items()}
        names = {
            of_number[each["id"]]: repr(each["name"])
            for each in self._annotations["categories"]
            if each["id"] in of_number
        }
        order = doubt_of_order(
            other_order(*_counted(pairs)),
            lambda index: names.get(index, str(index)),
            "export with --labels, whose names find COCO's categories, or return other classes "
            "with --task detection:file.py:decode",
        )
        return doubts if order is None else [*doubts, order]

    def _looked(
        self, found: FoundBoxes, image: CocoImage
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """What ``doubts`` needs of one image: counts, and pairs of classes [K, 2]."""
        true, categories = self._in_input(image.number)
        elsewhere, _ = self._in_input(self._next.get(image.number, image.number))
        best = np.argsort(-found.scores, kind="stable")[:_MOST_LOOKED_AT]
        strange = (found.classes < 0) | (found.classes >= self._classes)
        of_forms, by_chance = (
            found_in_each(found.corners[best], each, self._size) for each in (true, elsewhere)
        )
        strange &= found.scores > 0
        outside = len(true) - _seen(true, self._size)
        real = found.corners[found.scores > 0]  # and what only fills up
        turned = (real[:, 2:] < real[:, :2]).any(1).sum()
        of_boxes = strange.sum(), turned, outside, len(real) > 0, (real > 1).any()
        counts = np.array([len(true), *of_boxes, *of_forms, *by_chance], np.int64)
        same = overlaps(found.corners[best], true) >= LEAST_OVERLAP
        hit = np.flatnonzero(same.any(0))
        predicted = found.classes[best][same.argmax(0)[hit]] if len(best) else hit
        return counts, np.column_stack((categories[hit], predicted)).astype(np.int64)

    def _in_input(self, number: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """The true boxes [T, 4] of an image in pixels of the input, and their classes [T]."""
        boxes, categories = self._true.get(number, _NO_BOXES)
        width, height = self._sizes[number]
        at = place((width, height), self._size, self._how)
        corners = boxes * np.tile((at.width / width, at.height / height), 2)
        return corners + np.tile((at.left, at.top), 2), categories

    def _rows(self, found: FoundBoxes, at: Place, image: CocoImage) -> npt.NDArray[np.float64]:
        """The boxes of one image in its own pixels, those of COCO's categories."""
        corners = found.corners.reshape(-1, 2, 2) - (at.left, at.top)
        corners *= image.width / at.width, image.height / at.height
        corners = corners.clip(0, (image.width, image.height))
        numbers = np.array([self._numbers.get(each, -1) for each in found.classes.tolist()])
        rows = np.column_stack(
            (
                np.full(len(found.scores), image.number),
                corners[:, 0],
                corners[:, 1] - corners[:, 0],
                found.scores,
                numbers,
            )
        )
        return rows[numbers >= 0]

    def _found(self, outputs: list[Any]) -> FoundBoxes:
        """The boxes of one sample."""
        if self._decode is not None:
            return decoded(self._decode, outputs)
        if self._order is None:
            joined = outputs[0]
            boxes, scores, classes = joined[:, :_OF_BOX], joined[:, _OF_BOX], joined[:, _OF_BOX + 1]
        else:
            boxes, scores, classes = (outputs[index] for index in self._order)
        return checked(boxes, scores, classes, "the network gives")


def _order(outputs: Sequence[TensorInfo]) -> tuple[int, int, int] | None:
    """Which output has the boxes, the scores and the classes; None where one has all of them.

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
    joined = matching(3, "f")
    if len(outputs) == len(joined) == 1 and outputs[0].shape[2] == _OF_BOX + 2:
        return None
    found = ", ".join(f"{each.name!r} {each.dtype} {list(each.shape)}" for each in outputs)
    raise UsageError(
        "detection takes boxes [batch, M, 4], scores [batch, M] and integer classes [batch, M], or "
        f"all in one [batch, M, 6], and the outputs are {found}",
        hint="pass --task detection:file.py:decode with a function that makes them of one sample",
    )


def _numbers(
    annotations: dict[str, Any], labels: Sequence[str] | None, truth: Path | None
) -> tuple[dict[int, int], int]:
    """COCO's number of each class, and how many classes there are.

    A warning names the categories with boxes that are no labels.
    """
    number_of = {str(each["name"]): int(each["id"]) for each in annotations["categories"]}
    by_place = dict(enumerate(sorted(number_of.values())))
    if not labels:
        return by_place, len(by_place)
    numbers = {i: number_of[label] for i, label in enumerate(labels) if label in number_of}
    used = {each["category_id"] for each in annotations["annotations"]} - set(numbers.values())
    unknown = [name for name, number in number_of.items() if number in used]
    if numbers and unknown:
        logger.warning(
            Notice(
                f"no label of the bundle is the category {_some(unknown)} of {truth}, whose boxes "
                "are never found",
                did_you_mean(unknown[0], labels, "export with --labels in COCO's spelling"),
            )
        )
    elif not numbers:
        logger.warning(
            Notice(
                f"no label of the bundle is a category of {truth}, so its classes are taken for "
                "the categories in the order of their numbers",
                did_you_mean(labels[0], number_of, "export with --labels in COCO's spelling"),
            )
        )
        return by_place, len(by_place)
    return numbers, len(labels)


def _doubt_of_form(of_forms: npt.NDArray[np.int64], true: int, only_shares: bool) -> Notice | None:
    """What to say of boxes that seem to be in another form than they are taken in.

    Args:
        of_forms: How many true boxes were found in each form, and then how many of other images.
        true: How many true boxes there are.
        only_shares: Whether no number of the boxes is above 1.
    """
    found, by_chance = np.split(of_forms, 2)
    other = other_form(found, by_chance, true)
    if other is not None:
        form, in_it = other
        return Notice(
            f"of {true} true boxes {found[0]} are found with boxes taken as corners x1, y1, x2, "
            f"y2 in pixels of the input, and {in_it} if they are {form}",
            "convert them with --task detection:file.py:decode",
        )
    if only_shares:
        return Notice(
            "no number of the network's boxes is above 1, and they are taken for pixels of the "
            "input",
            "multiply shares by its width and height, with --task detection:file.py:decode; where "
            "they are no shares, check that the trained weights were loaded",
        )
    return None


def _seen(true: npt.NDArray[np.float64], size: tuple[int, int]) -> int:
    """How many boxes [T, 4] are half or more inside of an input of (H, W)."""
    inside = true.reshape(-1, 2, 2).clip(0, size[::-1]).reshape(-1, _OF_BOX)
    areas = [np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (inside, true)]
    return int((areas[0] >= areas[1] / 2).sum())


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(map(repr, names[:_NAMED]))
    return shown if len(names) <= _NAMED else f"{shown} or one of {len(names) - _NAMED} more"


def _true_boxes(
    annotations: Sequence[dict[str, Any]], numbers: Mapping[int, int]
) -> dict[int, tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]]:
    """By image the corners of the boxes [T, 4] in its pixels, and their classes; -1 is of none."""
    class_of = {number: index for index, number in numbers.items()}
    of_image: dict[int, list[tuple[list[float], int]]] = {}
    for each in annotations:
        if not each["iscrowd"]:
            x, y, width, height = each["bbox"]
            box = [x, y, x + width, y + height], class_of.get(each["category_id"], -1)
            of_image.setdefault(each["image_id"], []).append(box)
    return {
        number: (np.array([box for box, _ in boxes], np.float64), np.array([k for _, k in boxes]))
        for number, boxes in of_image.items()
    }


def _counted(
    pairs: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Each pair of a known class and the predicted one, and how often it is there."""
    each, counts = np.unique(pairs[pairs[:, 0] >= 0], axis=0, return_counts=True)
    return each[:, 0], each[:, 1], counts


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
