"""Folders of images as samples: one reader for calibration, verification and evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import TensorInfo
from edgeconv.errors import DataError, UsageError
from edgeconv.export.data.decode import UnreadableImage, decode
from edgeconv.export.data.fit import fitted
from edgeconv.export.data.preprocess import channel_axis, image_size, is_image, to_input
from edgeconv.export.data.samples import IndexedSamples, Sample
from edgeconv.preprocessing import Color, Preprocessing

# Files of other names are no samples. What Pillow cannot read of these is skipped and named.
IMAGE_SUFFIXES = {
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".mpo", ".pgm", ".png"),
    *(".ppm", ".tif", ".tiff", ".webp"),
}


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
            except UnreadableImage as error:
                self.skipped.append(f"{name} {error.reason}")
                continue
            yield name, (array,)


def load_image(
    file: Path, info: TensorInfo, preprocessing: Preprocessing | None
) -> npt.NDArray[Any]:
    """Read an image for the input ``info``, in its layout, as ``preprocessing`` says.

    Raises:
        UnreadableImage: It is not one whole picture, or of real numbers.
        LimitExceeded: It has more pixels than the limit.
    """
    channels, height, width = image_size(info)
    how = preprocessing or Preprocessing()
    gray = channels == 1 or how.color is Color.GRAY
    image = decode(file, gray=gray, background=how.background, exif_rotation=how.exif_rotation)
    pixels = fitted(image, (height, width), how).reshape(height, width, -1)
    if how.color is Color.BGR and not how.inside:
        pixels = pixels[:, :, ::-1]
    pixels = np.broadcast_to(pixels, (height, width, channels))
    image_first = pixels[None] if channel_axis(info) == 3 else pixels.transpose(2, 0, 1)[None]
    return to_input(image_first, info, preprocessing, str(file))


def one_image_input(inputs: Sequence[TensorInfo], path: Path) -> TensorInfo:
    """The network's only input, if it is an image.

    Raises:
        UsageError: The network takes something else than one image; ``path`` is for the message.
    """
    if len(inputs) != 1 or not is_image(inputs[0]):
        raise UsageError(
            f"{path} holds images, but the network's input is not one gray or color image",
            hint="pass an .npz with one array per input",
        )
    return inputs[0]
