"""Render text on photographs, as samples for networks that find and read text.

The typefaces are free and come with Pillow (Aileron) and matplotlib (DejaVu). Calibration and
unseen samples differ in words, typefaces, sizes of type and backgrounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Pixels = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]

# The scan of scikit-image that is made of lines of text, and its words in thirds of a pixel: left,
# top, right, bottom.
PAGE = "page.png"
PAGE_WORDS: dict[str, Box] = {
    "Region-based": (12, 32, 434, 104),
    "segmentation": (444, 38, 886, 106),
    "first": (160, 145, 248, 195),
    "determine": (264, 148, 480, 196),
    "markers of": (496, 148, 734, 198),
    "the coins": (750, 148, 954, 198),
    "and the": (968, 146, 1134, 194),
    "background.": (8, 198, 254, 248),
    "These": (262, 203, 388, 250),
    "are pixels": (576, 206, 780, 252),
    "that we": (790, 204, 950, 250),
    "label": (1040, 198, 1134, 244),
    "as either": (324, 258, 528, 302),
    "object or": (538, 260, 740, 306),
    "Here,": (1026, 254, 1134, 300),
    "the markers": (8, 302, 256, 352),
    "are found": (260, 310, 464, 354),
    "at the two": (474, 312, 704, 356),
    "extreme": (712, 312, 892, 356),
    "parts of the": (898, 302, 1134, 354),
    "histogram": (8, 348, 212, 398),
    "of grey": (212, 356, 360, 410),
    "values:": (366, 364, 518, 410),
}
_PAGE_UNITS = 3

# What the type is darker or lighter than its background at the least, of 255.
_LEAST_CONTRAST = 90


@dataclass(frozen=True)
class Style:
    """What samples are made with; those of another style share none of it.

    Attributes:
        words: What is written.
        faces: Files of typefaces; an empty one is Pillow's own.
        sizes: The least and the most height of type, in pixels.
    """

    words: Sequence[str]
    faces: Sequence[str]
    sizes: tuple[int, int]


@dataclass(frozen=True)
class Rendered:
    """A picture with words.

    Attributes:
        pixels: [1, H, W, 3] in RGB from 0 to 255.
        text: The words, separated by spaces.
        mask: [H, W], where the type is, with the space between its letters.
    """

    pixels: Pixels
    text: str
    mask: npt.NDArray[np.bool_]


def styles(license_file: Path) -> tuple[Style, Style]:
    """For calibration, and for unseen samples."""
    # Every other word of the license.
    words = license_file.read_text(encoding="utf-8").split()
    known = sorted({word.strip('.,;:()"[]') for word in words if word.isascii()})
    known = [word for word in known if 3 <= len(word) <= 9 and "/" not in word]
    first = Style(known[::2], ("", "DejaVuSans.ttf", "DejaVuSerif-Bold.ttf"), (14, 30))
    faces = ("", "DejaVuSerif.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf")
    return first, Style(known[1::2], faces, (16, 34))


def scenes(
    backgrounds: Iterator[Pixels], style: Style, *, seed: int, words: tuple[int, int] = (3, 8)
) -> Iterator[Rendered]:
    """Words that lie about on backgrounds, for a network that finds them."""
    rng = np.random.default_rng(seed)
    for background in backgrounds:
        picture = _picture(background, flat=rng.uniform(0, 0.7))
        mask = Image.new("L", picture.size)
        written = []
        for _ in range(int(rng.integers(words[0], words[1] + 1))):
            word = _word(style, rng)
            layer, box = _type(word, _font(style, rng), float(rng.normal(0, 4)))
            room = picture.width - layer.width, picture.height - layer.height
            if min(room) < 0:
                continue
            place = int(rng.integers(0, room[0] + 1)), int(rng.integers(0, room[1] + 1))
            if mask.crop((*place, place[0] + layer.width, place[1] + layer.height)).getbbox():
                continue  # no word covers another
            picture.paste(_color(picture, layer, place, rng), place, layer)
            mask.paste(255, place, box)
            written.append(word)
        yield Rendered(_worn(picture, rng), " ".join(written), np.asarray(mask) > 127)


def lines(backgrounds: Iterator[Pixels], style: Style, *, seed: int) -> Iterator[Rendered]:
    """One word that fills a picture, for a network that reads it."""
    rng = np.random.default_rng(seed)
    for background in backgrounds:
        picture = _picture(background, flat=rng.uniform(0.3, 1))
        word = _word(style, rng)
        layer, box = _type(word, _font(style, rng, 40), float(rng.normal(0, 1.5)))
        height = rng.uniform(0.75, 1) * picture.height
        scale = min(height / layer.height, rng.uniform(0.9, 1) * picture.width / layer.width)
        size = max(int(layer.width * scale), 1), max(int(layer.height * scale), 1)
        layer, box = (each.resize(size, Image.Resampling.BILINEAR) for each in (layer, box))
        left = int(rng.integers(0, min(picture.width - layer.width, 12) + 1))
        place = left, int(rng.integers(0, picture.height - layer.height + 1))
        picture.paste(_color(picture, layer, place, rng), place, layer)
        mask = Image.new("L", picture.size)
        mask.paste(255, place, box)
        yield Rendered(_worn(picture, rng), word, np.asarray(mask) > 127)


def page_words(page: Path, size: tuple[int, int], count: int, *, seed: int) -> Iterator[Rendered]:
    """Words of a scanned page, each cut out a little differently every time.

    Args:
        page: The picture.
        size: Height and width of what is made; what is narrower has gray to its right.
        count: How many.
        seed: Decides how they are cut out.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    with Image.open(page) as opened:
        picture = opened.convert("RGB")
    words = list(PAGE_WORDS.items())
    for index in range(count):
        word, box = words[index % len(words)]
        corners = np.array(box) / _PAGE_UNITS + rng.uniform(-1.5, 1.5, 4)
        part = picture.crop(tuple(round(each) for each in corners))  # type: ignore[arg-type]
        wide = min(width, int(part.width * height / part.height))
        made = Image.new("RGB", (width, height), (127, 127, 127))
        made.paste(part.resize((wide, height), Image.Resampling.BILINEAR), (0, 0))
        mask = np.zeros(size, np.bool_)
        yield Rendered(np.asarray(made, np.float32)[None], word, mask)


def _picture(background: Pixels, *, flat: float) -> Image.Image:
    """A background whose contrast is taken back by a share."""
    mean = background.mean(axis=(1, 2), keepdims=True)
    return Image.fromarray((background + flat * (mean - background))[0].astype(np.uint8))


def _word(style: Style, rng: np.random.Generator) -> str:
    kind = rng.integers(6)
    if kind == 0:
        return f"{rng.integers(1, 1000)}.{rng.integers(10, 100)}"
    word = style.words[int(rng.integers(len(style.words)))]
    return (word.upper(), word.capitalize(), word)[min(int(kind) - 1, 2)]


def _font(
    style: Style, rng: np.random.Generator, size: int | None = None
) -> ImageFont.FreeTypeFont:
    face = style.faces[int(rng.integers(len(style.faces)))]
    size = int(rng.integers(style.sizes[0], style.sizes[1] + 1)) if size is None else size
    if not face:
        own = ImageFont.load_default(size)
        assert isinstance(own, ImageFont.FreeTypeFont)
        return own
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / face), size)


def _type(
    word: str, font: ImageFont.FreeTypeFont, degrees: float
) -> tuple[Image.Image, Image.Image]:
    """The letters, and the box around them, as two layers of one size from 0 to 255."""
    left, top, right, bottom = font.getbbox(word)
    size = int(right - left) + 6, int(bottom - top) + 6
    letters, box = Image.new("L", size), Image.new("L", size, 255)
    ImageDraw.Draw(letters).text((3 - left, 3 - top), word, fill=255, font=font)
    turned = (
        each.rotate(degrees, Image.Resampling.BICUBIC, expand=True) for each in (letters, box)
    )
    first, second = turned
    return first, second


def _color(
    picture: Image.Image, layer: Image.Image, place: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int, int]:
    """A color that stands out from what is below."""
    below = picture.crop((*place, place[0] + layer.width, place[1] + layer.height))
    gray = float(np.asarray(below.convert("L")).mean())
    for _ in range(100):
        color = rng.integers(0, 256, 3)
        if abs(float(color @ (0.299, 0.587, 0.114)) - gray) >= _LEAST_CONTRAST:
            break
    red, green, blue = (int(each) for each in color)
    return red, green, blue


def _worn(picture: Image.Image, rng: np.random.Generator) -> Pixels:
    """[1, H, W, 3] from 0 to 255, blurred and with noise."""
    soft = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 0.9))))
    noisy = np.asarray(soft, np.float32) + rng.normal(0, rng.uniform(0, 8), (*soft.size[::-1], 3))
    return np.clip(noisy, 0, 255).astype(np.float32)[None]
