"""Images with masks: a class for every pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgeconv.bundle import Manifest
from edgeconv.errors import DataError, MismatchedData, UsageError
from edgeconv.export.data.decode import ImageFile, decode, open_image
from edgeconv.export.data.fit import fitted
from edgeconv.export.data.images import StoredImage
from edgeconv.export.data.preprocess import image_size
from edgeconv.export.data.samples import Sample
from edgeconv.export.data.truth import (
    Labeled,
    images_at,
    images_with_truths,
    npz_with_truths,
    rows_with_truths,
)
from edgeconv.near_names import near_paths
from edgeconv.preprocessing import Interpolation, Preprocessing
from edgeconv.tar_file import is_tar

# Pixels of this class count for nothing, as in PASCAL VOC, Cityscapes and torchvision.
IGNORED = 255

Mask = npt.NDArray[np.int64]


def open_masks(
    data: Path, truth: Path | None, manifest: Manifest, classes: int = IGNORED
) -> Labeled[Mask]:
    """Open images with their masks [H, W].

    Args:
        data: A folder or a tar of images, or an ``.npz`` with ``x`` and ``y`` [N, H, W].
        truth: The folder of the masks of images: PNG files of their names with the class as the
            value of each pixel, gray or by a palette.
        manifest: Describes the network.
        classes: How many classes the network has.

    Raises:
        UsageError: There is no such data.
        DataError: A mask is missing or damaged, has another size than its image, or a class that
            the network lacks.
    """
    if data.is_file() and not is_tar(data):
        samples, masks = npz_with_truths(data, manifest, "iu", "integers")
        if len(masks.shape) != 3:
            raise MismatchedData(
                f"'y' of {data} has shape {list(masks.shape)}",
                hint="store the class of each pixel as 'y' [N, H, W]",
            )
        rows = rows_with_truths(samples, masks)

        def read(asked: Sequence[int]) -> Iterator[tuple[Sample, Mask]]:
            for index, (sample, mask) in zip(asked, rows.read(asked), strict=True):
                yield sample, _checked(mask, classes, f"'y' of sample {index} of {data}")

        return Labeled(
            read,
            rows.total,
            rows.skipped,
            rows.sha256,
        )
    images = images_at(data, manifest)
    hint = "pass the folder of the masks with --truth"
    if truth is None:
        raise UsageError(f"the masks of {data} are not stated", hint=hint)
    if truth.is_file():
        raise UsageError(f"{truth} is a file, where the masks of {data} are looked for", hint=hint)
    if not truth.is_dir():
        raise UsageError(f"{truth}: no such folder", hint=near_paths(truth, hint))
    masks_of = [_mask_of(image, truth) for image in images.stored]
    size = image_size(manifest.inputs[0])[1:]
    how = manifest.preprocessing or Preprocessing()

    def truth_of(index: int) -> Mask:
        mask = read_mask(masks_of[index], images.stored[index].file, size, how)
        return _checked(mask, classes, str(masks_of[index]))

    return images_with_truths(images, truth_of, *masks_of)


def _checked(mask: npt.NDArray[Any], classes: int, where: str) -> Mask:
    """A mask whose classes the network has, but for what counts for nothing."""
    wrong = mask[(mask != IGNORED) & ((mask < 0) | (mask >= classes))]
    if wrong.size:
        raise DataError(
            f"{where} has the class {wrong.max()}, and there are {classes} classes",
            hint=f"number the classes from 0; {IGNORED} counts for nothing",
        )
    return mask.astype(np.int64)


def _mask_of(image: StoredImage, masks: Path) -> Path:
    mask = masks / image.within.with_suffix(".png")
    if not mask.is_file():
        raise DataError(
            f"{image.file} has no mask {mask}",
            hint="name each mask as its image, with .png at the end",
        )
    return mask


def read_mask(file: Path, image: ImageFile, size: tuple[int, int], how: Preprocessing) -> Mask:
    """Read a mask, fitted to the input as its image is, without mixing classes.

    Args:
        file: The mask.
        image: The image.
        size: The input's height and width.
        how: How images become inputs.

    Raises:
        DataError: It is no mask, or of another size than the image.
    """
    with open_image(file) as opened:
        if opened.mode not in ("P", "L", "1"):
            raise DataError(
                f"{file} is {opened.mode}, not a mask",
                hint="save the class of each pixel as its value, gray or by a palette",
            )
        classes = Image.fromarray(np.asarray(opened).astype(np.uint8))
    shown = decode(image, gray=True, background=how.background, exif_rotation=how.exif_rotation)
    if classes.size != shown.size:
        raise DataError(
            f"{file} is {classes.width}x{classes.height} pixels, and its image "
            f"{shown.width}x{shown.height}",
            hint="save masks in the size and the direction in which the image is shown",
        )
    changes: dict[str, Any] = {
        "interpolation": Interpolation.NEAREST,
        "antialias": True,
        "padding": (IGNORED,) * 3,
    }
    return fitted(classes, size, how.model_copy(update=changes)).astype(np.int64)
