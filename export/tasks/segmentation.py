"""Semantic segmentation: the mean intersection over union."""

from __future__ import annotations

from collections.abc import Sequence
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

Confusion = npt.NDArray[np.int64]  # [true class, predicted class], in pixels


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
        """Count the pixels of each true and predicted class."""
        size, counts = self._classes, np.zeros((self._classes,) * 2, np.int64)
        for output, mask in zip(outputs[0], truths, strict=True):
            counted = mask != IGNORED
            true, predicted = mask[counted], self._predicted(output, mask)[counted]
            if predicted.size and not 0 <= predicted.min() <= predicted.max() < size:
                raise DataError(
                    f"the network has the class {predicted.max()}, and there are {size} classes",
                    hint=f"number the classes from 0; {IGNORED} counts for nothing",
                )
            counts += np.bincount(true * size + predicted, minlength=size**2).reshape(size, size)
        return counts

    def merge(self, parts: Sequence[Confusion]) -> Confusion:
        """The pixels of all parts."""
        total: Confusion = np.sum(parts, axis=0)
        return total

    def score(self, counts: Confusion, reference: Confusion | None) -> Scored:
        """The mean intersection over union, and the share of pixels of the right class."""
        pixels = int(counts.sum())
        if not pixels:
            raise DataError("no pixel of any mask counts", hint=f"{IGNORED} counts for nothing")
        right = np.diag(counts)
        either = counts.sum(0) + counts.sum(1) - right
        ratios = right[either > 0] / either[either > 0]
        figures = {"mIoU": float(ratios.mean()), "pixel accuracy": float(right.sum() / pixels)}
        return Scored(
            tuple(share(name, value, pixels, "pixels") for name, value in figures.items())
        )

    def doubts(self, counts: Confusion) -> list[Notice]:
        """Classes in another order than the network's."""
        true, predicted = np.nonzero(counts)
        return order_doubts(other_order(true, predicted, counts[true, predicted]), self._labels)

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
            scores = interpolate(scores, mask.shape, mode="bilinear", align_corners=False)
        return np.asarray(scores[0].numpy().argmax(0), np.int64)
