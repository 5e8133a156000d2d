"""Images in folders and archives as samples: one reader for every step that needs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import TensorInfo
from edgeconv.errors import NoSamples, UsageError
from edgeconv.export.data.decode import ImageFile, UnreadableImage, decode
from edgeconv.export.data.fit import fitted
from edgeconv.export.data.preprocess import channel_axis, image_size, is_image, to_input
from edgeconv.export.data.samples import IndexedSamples, Sample
from edgeconv.export.data.webdataset import is_webdataset, samples_in
from edgeconv.preprocessing import Color, Preprocessing
from edgeconv.tar_file import TarMember, archives_of, is_tar, members_of

# Files of other names are no samples. What Pillow cannot read of these is skipped and named.
IMAGE_SUFFIXES = {
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".mpo", ".pgm", ".png"),
    *(".ppm", ".tif", ".tiff", ".webp"),
}


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that was not read yet.

    Attributes:
        name: What it is called among all images; no other has that name.
        within: Its path in its folder or archive.
        file: Where it is.
        label: The file beside it that states the index of its class, in a WebDataset.
    """

    name: str
    within: PurePosixPath
    file: ImageFile
    label: TarMember | None = None


@dataclass
class Images(IndexedSamples):
    """Images in the order in which they are stored.

    Attributes:
        labeled: Whether they are of a WebDataset with classes, and each should have a label.
    """

    path: Path
    stored: Sequence[StoredImage]
    info: TensorInfo
    preprocessing: Preprocessing | None
    labeled: bool = False
    synthetic: bool = False
    pixels: bool = True
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = self.path.name

    def __len__(self) -> int:
        return len(self.stored)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        """Yield (name, sample) for the readable images of ``indices``."""
        for index in indices:
            image = self.stored[index]
            try:
                array = load_image(image.file, self.info, self.preprocessing)
            except UnreadableImage as error:
                self.skipped.append(f"{image.name} {error.reason}")
                continue
            yield image.name, (array,)


def has_images(path: Path) -> bool:
    """Whether a path is where :func:`open_images` finds images: a folder, or a tar archive."""
    return path.is_dir() or is_tar(path)


def open_images(
    path: Path, inputs: Sequence[TensorInfo], preprocessing: Preprocessing | None
) -> Images:
    """Open all images below a folder, or in tar archives.

    Args:
        path: A folder, whose images are in the order of their paths; or an archive, a range of
            archives as ``shard-{000..049}.tar`` or a folder with archives and no images. These are
            in the order of their names, and what they hold in its own order.
        inputs: The network's inputs.
        preprocessing: How pixels are normalized.

    Raises:
        UsageError: There is no such archive, or the network does not take one image.
        DataError: There are no images, or an archive is damaged.
    """
    info = one_image_input(inputs, path)
    if path.is_dir():
        stored, labeled = _in_folder(path), False
        archives = [] if stored else sorted(path.glob("*.tar"))
    else:
        stored, archives = [], archives_of(path)
    if archives:
        stored, labeled = _in_archives(archives)
    if not stored:
        raise _no_images(path)
    return Images(path, stored, info, preprocessing, labeled)


def demand_images(folder: Path) -> None:
    """Refuse a folder that has neither an image nor an archive, without listing all of it.

    Raises:
        NoSamples: It has none.
    """
    if not any(_files(folder)) and not any(folder.glob("*.tar")):
        raise _no_images(folder)


def _no_images(path: Path) -> NoSamples:
    suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
    return NoSamples(
        f"{path} holds no images", hint=f"pass a folder or a tar with files in {suffixes}"
    )


def _files(folder: Path) -> Iterator[Path]:
    """The images below a folder, in no order."""
    return (
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()
    )


def _in_folder(path: Path) -> list[StoredImage]:
    files = sorted(_files(path))
    names = [PurePosixPath(file.relative_to(path).as_posix()) for file in files]
    return [StoredImage(str(name), name, file) for name, file in zip(names, files, strict=True)]


def _in_archives(archives: Sequence[Path]) -> tuple[list[StoredImage], bool]:
    """All images, and whether they are of a WebDataset with classes."""
    members = [members_of(archive) for archive in archives]
    labeled = any(map(is_webdataset, members))
    stored = []
    for archive, of_archive in zip(archives, members, strict=True):
        prefix = f"{archive.name}/" if len(archives) > 1 else ""
        pairs = samples_in(of_archive, IMAGE_SUFFIXES, labeled=labeled)
        stored += [
            StoredImage(f"{prefix}{image.name}", PurePosixPath(image.name), image, label)
            for image, label in pairs
        ]
    return stored, labeled


def load_image(
    file: ImageFile, info: TensorInfo, preprocessing: Preprocessing | None
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
