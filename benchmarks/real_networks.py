"""What the benchmarks on networks that other people trained feed them, and what they should keep.

The networks and photographs are those of ``tests/realnets``, in the folder that
``EDGECONV_REALNETS`` names (``build/realnets``). Every other photograph is for calibration, the
rest are unseen. Networks for text are calibrated on rendered text; what they did not see is text
rendered with other words, typefaces and backgrounds, and as much of two real pictures.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from PIL import Image

from benchmarks.rendered_text import PAGE, Rendered, lines, page_words, scenes, styles

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from realnets.networks import NETWORKS, RealNetwork

ROOT = Path(__file__).parent.parent
PACKAGES = Path(os.environ.get("EDGECONV_REALNETS", ROOT / "build" / "realnets"))
SCIKIT_IMAGE = PACKAGES / "skimage" / "data"
CALIBRATION = 128
# What scikit-image has besides drawings, test patterns and pictures of one texture.
PHOTOGRAPHS = (
    *("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "ihc.png"),
    *("hubble_deep_field.jpg", "motorcycle_left.png", "retina.jpg", "rocket.jpg"),
)
# A scan, and handwriting.
WRITTEN = (PAGE, "text.png")

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """What a network is fed.

    Attributes:
        calibration: Inputs to calibrate with.
        unseen: Inputs of other pictures.
        written: What is written in each of those; none for a network that is not for text.
        rendered: How many of ``unseen`` are rendered; the others, behind them, are real.
    """

    calibration: list[Pixels]
    unseen: list[Pixels]
    written: list[Rendered]
    rendered: int = 0


@dataclass(frozen=True)
class Task:
    """What one network is for.

    Attributes:
        name: The network's in ``tests/realnets``.
        size: Height and width of its input.
        normalize: From crops, [1, H, W, 3] in RGB from 0 to 255, to what it takes.
        kept: The share of the float network's answer that outputs keep, and what that is.
        figure: A word for that share.
        text: How it is fed with text; None where it is not for text.
        unseen: How many samples it is judged on.
    """

    name: str
    size: tuple[int, int]
    normalize: Callable[[Pixels], Pixels]
    kept: Callable[[Array, Array], float]
    figure: str
    text: Text | None = None
    unseen: int = 240

    @property
    def network(self) -> RealNetwork:
        (network,) = (each for each in NETWORKS if each.name == self.name)
        return network

    @property
    def file(self) -> Path:
        return PACKAGES / self.network.file


@dataclass(frozen=True)
class Text:
    """How a network for text is fed.

    Attributes:
        rendered: Renders text on backgrounds, in a style and from a seed.
        real: Cuts so many samples out of real pictures.
        right: Says how well the float network does, from its outputs and what it was fed.
    """

    rendered: Callable[..., Iterator[Rendered]]
    real: Callable[[tuple[int, int], int], Iterator[Rendered]]
    right: Callable[[Array, Samples], str]


def as_torchvision(crop: Pixels) -> Pixels:
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return np.ascontiguousarray(((crop / np.float32(255) - mean) / std).transpose(0, 3, 1, 2))


def as_ocr(crop: Pixels) -> Pixels:
    scaled = (crop[..., ::-1] / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def same_class(expected: Array, got: Array) -> float:
    return float((expected.argmax(1) == got.argmax(1)).mean())


def overlap(expected: Array, got: Array) -> float:
    """Intersection over union of the pixels that are text, over all pictures."""
    a, b = _is_text(expected), _is_text(got)
    return float((a & b).sum() / max((a | b).sum(), 1))


def _is_text(map_: Array) -> npt.NDArray[np.bool_]:
    return np.asarray(map_ > 0.3)


def same_text(expected: Array, got: Array) -> float:
    """The share of lines that read the same, with the best class of each step."""
    pairs = zip(expected.argmax(2), got.argmax(2), strict=True)
    return float(np.mean([_letters(a) == _letters(b) for a, b in pairs]))


def _letters(steps: Array) -> list[int]:
    return [
        int(a) for a, before in zip(steps, [0, *steps[:-1]], strict=True) if a not in (0, before)
    ]


def _found(outputs: Array, samples: Samples) -> str:
    text = _is_text(outputs)[: samples.rendered, 0]
    masks = np.stack([each.mask for each in samples.written[: samples.rendered]])
    inside = (text & masks).sum() / max(text.sum(), 1)
    return (
        f"Of the pixels that the float network takes for text in rendered pictures, {inside:.1%} "
        "belong to a rendered word."
    )


def _read(outputs: Array, samples: Samples) -> str:
    model = onnx.load(next(task for task in TASKS if task.kept is same_text).file)
    (characters,) = (each.value for each in model.metadata_props if each.key == "character")
    table = ["", *characters.split("\n"), " "]
    right = [
        "".join(table[index] for index in _letters(steps)).replace(" ", "")
        == each.text.replace(" ", "")
        for steps, each in zip(outputs.argmax(2), samples.written, strict=True)
    ]
    return f"The float network reads {np.mean(right):.1%} of the unseen words without a fault."


def _real_crops(size: tuple[int, int], count: int) -> Iterator[Rendered]:
    for crop in crops(size, [SCIKIT_IMAGE / name for name in WRITTEN], count, seed=count):
        yield Rendered(crop, "", np.zeros(size, np.bool_))  # whatever is written on them


def _real_words(size: tuple[int, int], count: int) -> Iterator[Rendered]:
    return page_words(SCIKIT_IMAGE / PAGE, size, count, seed=count)


TASKS = (
    Task("MobileNetV2", (224, 224), as_torchvision, same_class, "same class"),
    Task("EfficientNet-Lite0", (224, 224), as_torchvision, same_class, "same class"),
    Task(
        *("PP-OCRv6 detector", (224, 320), as_ocr, overlap, "IoU of text"),
        text=Text(scenes, _real_crops, _found),
    ),
    Task(
        *("PP-OCRv6 recognizer", (48, 160), as_ocr, same_text, "same text"),
        text=Text(lines, _real_words, _read),
        unseen=1200,  # of 120 words a single one would be nearly a percent
    ),
)


def crops(size: tuple[int, int], files: Sequence[Path], count: int, *, seed: int) -> Iterator[Any]:
    """Random parts of pictures, [1, H, W, 3] in RGB from 0 to 255, scaled to one size."""
    rng = np.random.default_rng(seed)
    height, width = size
    for index in range(count):
        with Image.open(files[index % len(files)]) as picture:
            picture = picture.convert("RGB")
            # From what just holds the shorter side down to a third of it.
            scale = min(picture.width / width, picture.height / height) * rng.uniform(1 / 3, 1)
            w, h = int(width * scale), int(height * scale)
            left = int(rng.integers(0, picture.width - w + 1))
            top = int(rng.integers(0, picture.height - h + 1))
            part = picture.crop((left, top, left + w, top + h))
            yield np.asarray(part.resize((width, height), Image.Resampling.BILINEAR), np.float32)[
                None
            ]


def data(task: Task) -> Samples:
    """Inputs for calibration, and inputs from other pictures."""
    found = [SCIKIT_IMAGE / name for name in PHOTOGRAPHS]
    found += sorted((PACKAGES / "foolbox" / "data").glob("imagenet_*.jpg"))
    rendered = task.unseen // 2 if task.text else task.unseen
    calibration, unseen = (
        crops(task.size, files, count, seed=seed)
        for files, count, seed in (
            (found[::2], CALIBRATION, CALIBRATION),
            (found[1::2], rendered, task.unseen),
        )
    )
    if task.text is None:
        first, second = ([task.normalize(crop) for crop in each] for each in (calibration, unseen))
        return Samples(first, second, [])
    known, unknown = styles(ROOT / "LICENSE")
    written = [
        *task.text.rendered(unseen, unknown, seed=task.unseen),
        *task.text.real(task.size, task.unseen - rendered),
    ]
    seen = task.text.rendered(calibration, known, seed=CALIBRATION)
    first, second = (
        [task.normalize(each.pixels) for each in some] for some in (list(seen), written)
    )
    return Samples(first, second, written, rendered)
