"""Decode image files to bytes of RGB or gray, as cameras and scanners write them."""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError
from PIL.TiffTags import TAGS_V2

from edgeconv.errors import DataError, first_line
from edgeconv.limits import IMAGE_PIXELS
from edgeconv.stand_in import stand_in
from edgeconv.tar_file import TarMember

ImageFile = Path | TarMember

# What Pillow raises for damaged files, by format.
_DAMAGED = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
# The EXIF orientations whose width is shown as the height.
_QUARTER_TURNS = (5, 6, 7, 8)
_PILLOWS_LIMIT = threading.Lock()
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_BITS_PER_SAMPLE, _PHOTOMETRIC = (
    next(tag for tag, info in TAGS_V2.items() if info.name == name)
    for name in ("BitsPerSample", "PhotometricInterpretation")
)


class UnreadableImage(DataError):  # noqa: N818  # what was met, as in edgeconv.errors
    """A file that holds no picture, half of one, several, or one of no known range.

    Attributes:
        reason: What is wrong with it and what helps, without the file's name.
    """

    def __init__(self, file: ImageFile, reason: str, hint: str = "") -> None:
        super().__init__(f"{file} {reason}", hint=hint or "replace it or take it away")
        self.reason = f"{reason} ({hint})" if hint else reason


def decode(
    file: ImageFile, *, gray: bool, background: tuple[int, int, int], exif_rotation: bool
) -> Image.Image:
    """Read an image as bytes: mode L or RGB.

    Of samples of 16 bits the high byte is taken, so 65535 becomes 255; Pillow does so for color,
    and for gray it does not. CMYK and palettes become RGB by Pillow's own rules; color profiles
    are ignored, as Pillow, torchvision and timm ignore them.

    Args:
        file: The file; its content decides what it is, not the end of its name.
        gray: Whether to return one channel.
        background: The color behind transparent pixels.
        exif_rotation: Whether to turn it as its EXIF orientation says.

    Raises:
        UnreadableImage: It is not one whole picture, or of real numbers.
        LimitExceeded: It has more pixels or bytes than the limit.
    """
    with open_image(file) as image:
        # A phone's JPEG may carry previews or a second view after the picture (MPO).
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise UnreadableImage(
                file, "holds several pictures", hint="save the one that is meant by itself"
            )
        whole = _in_bytes(_turned(image) if exif_rotation else image, image, file)
        if whole.has_transparency_data:
            ground = Image.new("RGBA", whole.size, (*background, 255))
            whole = Image.alpha_composite(ground, whole.convert("RGBA")).convert("RGB")
        return whole.convert("L" if gray else "RGB")


@contextmanager
def open_image(file: ImageFile) -> Iterator[Image.Image]:
    """Open and load an image in the mode that it has; see :func:`decode`."""
    with _damage_named(file), _opened(file) as image:
        image.load()
        yield image


def shown_size(file: ImageFile, *, exif_rotation: bool) -> tuple[int, int]:
    """The width and height that :func:`decode` gives an image, from its header alone.

    Raises:
        UnreadableImage: It is no image.
        LimitExceeded: It has more pixels or bytes than the limit.
    """
    with _damage_named(file), _opened(file) as image:
        width, height = image.size
        return (height, width) if exif_rotation and _lies_on_its_side(image) else (width, height)


def _lies_on_its_side(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ExifTags.Base.Orientation) in _QUARTER_TURNS
    except _DAMAGED:
        return False


def _turned(image: Image.Image) -> Image.Image:
    """The image as its camera was held; one with damaged EXIF data stays as it is."""
    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGED:
        return image


def _in_bytes(image: Image.Image, opened: Image.Image, file: ImageFile) -> Image.Image:
    """The image in a mode with bytes; ``opened`` knows its format and its tags."""
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and opened.format in ("PNG", "PPM")):
        bits, inverted = 16, False
        if isinstance(opened, TiffImagePlugin.TiffImageFile):
            bits = opened.tag_v2[_BITS_PER_SAMPLE][0]
            inverted = opened.tag_v2[_PHOTOMETRIC] == 0
        return _high_bytes(image, bits, inverted=inverted)
    if image.mode in ("F", "I"):
        numbers = "real numbers" if image.mode == "F" else "numbers of 32 bits or with a sign"
        raise UnreadableImage(
            file,
            f"holds {numbers}, and nothing says which of them is white",
            hint="save it with 8 or 16 bits, or pass .npy, whose numbers are used as they are",
        )
    return image


def _high_bytes(image: Image.Image, bits: int, *, inverted: bool) -> Image.Image:
    """A gray image of more than 8 bits with its full range as 0 to 255."""
    values = np.asarray(image).astype(np.int64)
    levels = (values >> (bits - 8)).astype(np.uint8)
    result = Image.fromarray(255 - levels if inverted else levels)
    key = image.info.get("transparency")
    if isinstance(key, int):
        result.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return result


@contextmanager
def _damage_named(file: ImageFile) -> Iterator[None]:
    """Say in one line what is wrong with a damaged file."""
    try:
        yield
    except UnidentifiedImageError as error:
        found = stand_in(file) if isinstance(file, Path) else None
        if found is not None:
            raise UnreadableImage(file, f"is {found.what}", found.hint) from error
        raise UnreadableImage(file, "is no image that Pillow can read") from error
    except _DAMAGED as error:
        cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
        what = "ends too early" if cut else f"cannot be decoded ({first_line(error)})"
        raise UnreadableImage(file, what) from error


@contextmanager
def _opened(file: ImageFile) -> Iterator[Image.Image]:
    """Open an image unless it has more pixels than the limit; our limit stands for Pillow's own."""
    with _PILLOWS_LIMIT:  # another thread would find None, and leave it there
        pillows = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            opened = Image.open(file if isinstance(file, Path) else io.BytesIO(file.read()))
        finally:
            Image.MAX_IMAGE_PIXELS = pillows
    with opened:
        IMAGE_PIXELS.check(opened.width * opened.height, f"{file} has")
        yield opened
