"""Semantic segmentation: the mean intersection over union."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Layout, Manifest
from edgeconv.errors import DataError, Notice, UsageError
from edgeconv.export.data.masks import IGNORED, Mask, open_masks
from edgeconv.export.data.truth import Labeled, as_path
from edgeconv.export.tasks.class_order import order_doubts, other_order
from edgeconv.export.tasks.task import Arrays, Scored, first_output, share

# A class of fewer pixels in an image says nothing of what it is taken for.
_FEWEST_PIXELS = 10


@dataclass(frozen=True)
class Confusion:
    """How often each true class was taken for each class, both [true class, predicted class].

    Attributes:
        pixels: In how many pixels.
        images: In how many images it was mostly taken for it.
    """

    pixels: npt.NDArray[np.int64]
    images: npt.NDArray[np.int64]


class Segmentation:
    """The first output is a map of scores, [N, C, H, W] by its layout, or of classes, [N, H, W].

    Scores of another size than the mask are resized to it, bilinearly and with the centers of
    pixels aligned; classes take the nearest pixel. The mean is over the classes that are in the
    masks or were predicted, from the pixels of all images together.
    """

    name = "segmentation"

    def __init__(self) -> None:
        self._classes = 0
        self._channels: int | None = None
        self._labels: Sequence[str] | None = None

    def open(self, data: Any, truth: Path | None, manifest: Manifest) -> Labeled[Mask]:
        """Open images with their masks, as ``open_masks`` does."""
        output = first_output(manifest)
        self._labels = manifest.labels
        is_map = len(output.shape) == 3 or (len(output.shape) == 4 and output.shape[1] == 1)
        if np.dtype(output.dtype).kind in "iu" and is_map:
            self._classes, self._channels = len(manifest.labels or ()) or IGNORED, None
        elif np.dtype(output.dtype).kind == "f" and len(output.shape) == 4:
            self._channels = 3 if output.layout is Layout.NHWC else 1
            self._classes = output.shape[self._channels]
        if self._classes < 2:
            raise UsageError(
                f"segmentation takes a map of scores [batch, classes, height, width] or of "
                f"classes, and the first output {output.name!r} is {output.dtype} of "
                f"{list(output.shape)}",
                hint="for one channel, whose threshold nothing states, export the network with it "
                "applied, or pass --task file.py:metric",
            )
        return open_masks(as_path(data, "images with masks"), truth, manifest, self._classes)

    def count(self, outputs: Arrays, truths: Sequence[Mask]) -> Confusion:
        """Count the pixels and images of each true and predicted class."""
        size = self._classes
        total = Confusion(*np.zeros((2, size, size), np.int64))
        for output, mask in zip(outputs[0], truths, strict=True):
            counted = mask != IGNORED
            true, predicted = mask[counted], self._predicted(output, mask)[counted]
            if predicted.size and not 0 <= predicted.min() <= predicted.max() < size:
                raise DataError(
                    f"the network has the class {predicted.max()}, and there are {size} classes",
                    hint=f"number the classes from 0; {IGNORED} counts for nothing",
                )
            pixels = np.bincount(true * size + predicted, minlength=size**2).reshape(size, size)
            there = np.flatnonzero(pixels.sum(1) >= _FEWEST_PIXELS)
            total.pixels[:] += pixels
            total.images[there, pixels[there].argmax(1)] += 1
        return total

    def merge(self, parts: Sequence[Confusion]) -> Confusion:
        """The pixels of all parts."""
        return Confusion(
            np.sum([part.pixels for part in parts], axis=0),
            np.sum([part.images for part in parts], axis=0),
        )

    def score(self, counts: Confusion, reference: Confusion | None) -> Scored:
        """The mean intersection over union, and the share of pixels of the right class."""
        confusion = counts.pixels
        pixels = int(confusion.sum())
        if not pixels:
            raise DataError("no pixel of any mask counts", hint=f"{IGNORED} counts for nothing")
        right = np.diag(confusion)
        either = confusion.sum(0) + confusion.sum(1) - right
        ratios = right[either > 0] / either[either > 0]
        figures = {"mIoU": float(ratios.mean()), "pixel accuracy": float(right.sum() / pixels)}
        return Scored(
            tuple(share(name, value, pixels, "pixels") for name, value in figures.items())
        )

    def doubts(self, counts: Confusion) -> list[Notice]:
        """Classes in another order than the network's."""
        images = counts.images
        true, predicted = np.nonzero(images)
        return order_doubts(other_order(true, predicted, images[true, predicted]), self._labels)

    def _predicted(self, output: npt.NDArray[Any], mask: Mask) -> Mask:
        """The predicted class of each pixel of the mask."""
        import torch
        from torch.nn.functional import interpolate

        if self._channels is None:
            classes = torch.from_numpy(output.reshape(1, 1, *output.shape[-2:]).astype(np.float64))
            if classes.shape[2:] != mask.shape:
                classes = interpolate(classes, mask.shape, mode="nearest-exact")
            return np.asarray(classes[0, 0].numpy(), np.int64)
        scores = torch.from_numpy(np.moveaxis(output, self._channels - 1, 0)[None])
        if scores.shape[2:] != mask.shape:
            # In float64, equal scores of int8 files stay equal.
            scores = interpolate(scores.double(), mask.shape, mode="bilinear", align_corners=False)
        return np.asarray(scores[0].numpy().argmax(0), np.int64)
