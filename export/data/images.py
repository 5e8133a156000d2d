"""Folders of images as samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from edgeconv.bundle import Fit, Interpolation, Preprocessing, TensorInfo
from edgeconv.errors import DataError, UsageError
from edgeconv.export.data.preprocess import channel_axis, image_size, to_input
from edgeconv.export.data.samples import IndexedSamples, Sample
from edgeconv.limits import IMAGE_PIXELS

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
# A larger image than this is not made to cut the input out of it.
_RESIZED_PIXELS = 16_000_000
# What Pillow raises for a damaged or oversized file, by format.
_DAMAGED = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError)


@dataclass
class ImageFolder(IndexedSamples):
    """All images below a folder, in the order of their paths.

    Raises:
        DataError: There are none.
    """

    path: Path
    info: TensorInfo
    preprocessing: Preprocessing | None
    synthetic: bool = False
    pixels: bool = True
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = self.path.name
        self.files = sorted(
            file
            for file in self.path.rglob("*")
            if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()
        )
        if not self.files:
            raise DataError(
                f"{self.path} holds no images",
                hint=f"pass a folder with files in {', '.join(sorted(IMAGE_SUFFIXES))}",
            )

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        """Yield (name, sample) for the readable images of ``indices``; the name is the path."""
        for index in indices:
            file = self.files[index]
            name = file.relative_to(self.path).as_posix()
            try:
                array = load_image(file, self.info, self.preprocessing)
            except _DAMAGED:
                self.skipped.append(name)
                continue
            yield name, (array,)


def load_image(
    file: Path, info: TensorInfo, preprocessing: Preprocessing | None
) -> npt.NDArray[Any]:
    """Read an image for the input ``info``, in its layout.

    The image is resized until it covers the input, further as ``preprocessing`` says; then the
    center is cropped, and bytes become ([0, 1] - mean) / std. Sizes are rounded as torchvision's
    Resize and CenterCrop round them.
    """
    channels, height, width = image_size(info)
    how = preprocessing or Preprocessing()
    with _opened(file) as opened:
        image = opened.convert("L" if channels == 1 else "RGB")
    pixels = _cropped(image, (height, width), how).reshape(height, width, channels)
    image_first = pixels[None] if channel_axis(info) == 3 else pixels.transpose(2, 0, 1)[None]
    return to_input(image_first, info, preprocessing, str(file))


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """Open an image unless it has more pixels than the limit; our limit stands for Pillow's own."""
    pillows = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        opened = Image.open(file)
    finally:
        Image.MAX_IMAGE_PIXELS = pillows
    with opened:
        IMAGE_PIXELS.check(opened.width * opened.height, f"{file} has")
        yield opened


def _cropped(
    image: Image.Image, size: tuple[int, int], how: Preprocessing
) -> npt.NDArray[np.uint8]:
    """The pixels of the center of the resized image: [H, W] or [H, W, C] for a size (H, W).

    Where resizing would make a huge image of a long one, only what the crop needs is resized.
    """
    height, width = size
    whole = _size(image, height, width, how)
    left, top = round((whole[0] - width) / 2), round((whole[1] - height) / 2)
    if whole[0] * whole[1] > _RESIZED_PIXELS:
        across, down = image.width / whole[0], image.height / whole[1]
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        filtering = Image.Resampling[how.interpolation.name]
        return np.asarray(image.resize((width, height), filtering, box=box), np.uint8)
    return _resized(image, whole, how)[top : top + height, left : left + width]


def _size(image: Image.Image, height: int, width: int, how: Preprocessing) -> tuple[int, int]:
    """The width and height that the image is resized to."""
    least = [width, height]
    if how.crop is not None:
        least = [math.floor(side / how.crop) for side in least]
    if how.fit is Fit.SQUASH:
        return max(least[0], how.resize or 0), max(least[1], how.resize or 0)
    bounds = [(least[0], image.width), (least[1], image.height)]
    if how.resize is not None:
        bounds.append((how.resize, min(image.size)))
    target, side = max(bounds, key=lambda bound: bound[0] / bound[1])
    return max(width, target * image.width // side), max(height, target * image.height // side)


def _resized(
    image: Image.Image, size: tuple[int, int], how: Preprocessing
) -> npt.NDArray[np.uint8]:
    """The pixels [H, W] or [H, W, C] of the image in another size."""
    if how.antialias or how.interpolation is Interpolation.NEAREST:
        resized = image.resize(size, Image.Resampling[how.interpolation.name])
        return np.asarray(resized, np.uint8)
    import torch  # Pillow always averages

    pixels = torch.from_numpy(np.array(image, np.float32)).reshape(image.height, image.width, -1)
    smaller = torch.nn.functional.interpolate(
        pixels.permute(2, 0, 1)[None], size[::-1], mode=how.interpolation.value, align_corners=False
    )
    return smaller.round().clamp(0, 255).byte()[0].permute(1, 2, 0).squeeze(-1).numpy()


def one_image_input(inputs: Sequence[TensorInfo], path: Path) -> TensorInfo:
    """The network's only input, if it is an image.

    Raises:
        UsageError: The network takes something else than one image; ``path`` is for the message.
    """
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or image_size(inputs[0])[0] not in (1, 3):
        raise UsageError(
            f"{path} holds images, but the network's input is not one gray or color image",
            hint="pass an .npz with one array per input",
        )
    return inputs[0]
