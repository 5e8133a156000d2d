"""Folders of images as samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from edgeconv.bundle import Preprocessing, TensorInfo
from edgeconv.errors import DataError, UsageError
from edgeconv.export.data.preprocess import normalize
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
                array = load_image(file, self.info.shape, self.preprocessing)
            except _DAMAGED:
                self.skipped.append(name)
                continue
            yield name, (array,)


def load_image(
    file: Path, shape: tuple[int, ...], preprocessing: Preprocessing | None
) -> npt.NDArray[np.float32]:
    """Read an image as [1, C, H, W] float32.

    The image is resized (bilinear, antialiased) until it covers the input and its shorter side is
    ``preprocessing.resize`` where that is set; then the center is cropped, and bytes become
    ([0, 1] - mean) / std.
    """
    channels, height, width = shape[1:]
    with _opened(file) as opened:
        image = opened.convert("L" if channels == 1 else "RGB")
    shorter = preprocessing.resize if preprocessing and preprocessing.resize else 0
    cropped = _center(image, (width, height), shorter)
    pixels = np.asarray(cropped, np.uint8).reshape(height, width, channels)
    return normalize(pixels.transpose(2, 0, 1)[None], preprocessing)


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


def _center(image: Image.Image, size: tuple[int, int], shorter: int) -> Image.Image:
    """Scale an image until it covers ``size`` and its shorter side is ``shorter``; crop the center.

    Where that would make a huge image of a long one, only what the crop needs is scaled.
    """
    width, height = size
    scale = max(height / image.height, width / image.width, shorter / min(image.size))
    whole = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    left, top = (whole[0] - width) // 2, (whole[1] - height) // 2
    if whole[0] * whole[1] <= _RESIZED_PIXELS:
        resized = image.resize(whole, Image.Resampling.BILINEAR)
        return resized.crop((left, top, left + width, top + height))
    across, down = image.width / whole[0], image.height / whole[1]
    box = (left * across, top * down, (left + width) * across, (top + height) * down)
    return image.resize(size, Image.Resampling.BILINEAR, box=box)


def one_image_input(inputs: Sequence[TensorInfo], path: Path) -> TensorInfo:
    """The network's only input, if it is an image.

    Raises:
        UsageError: The network takes something else than one image; ``path`` is for the message.
    """
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (1, 3):
        raise UsageError(
            f"{path} holds images, but the network's input is not one gray or color image",
            hint="pass an .npz with one array per input",
        )
    return inputs[0]
