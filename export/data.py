"""Samples for calibration, verification and evaluation, read one at a time.

Sources: a folder of images, ``.npy``, ``.npz``, or synthetic inputs asked for by name. A sample
is one float32 array a network input, with a leading dimension of 1: images are [1, C, H, W].
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from edgeconv.bundle import Preprocessing, TensorInfo
from edgeconv.errors import DataError, UsageError
from edgeconv.models.randomize import structured_input

Sample = tuple[npt.NDArray[Any], ...]
IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
SYNTHETIC = "random"
# What Pillow raises for a damaged or oversized file, by format.
_DAMAGED = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError)


class Samples(Protocol):
    """A source of samples. ``pixels`` tells that preprocessing is applied to what it holds;
    ``skipped`` fills up with the names of unreadable samples while iterating."""

    source: str
    synthetic: bool
    pixels: bool
    skipped: list[str]

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        """Yield (name, sample) for the readable ones of ``indices``."""
        ...


def open_samples(
    source: str | Path, inputs: Sequence[TensorInfo], preprocessing: Preprocessing | None
) -> Samples:
    """Open a source of samples for a network with these inputs.

    Raises:
        UsageError: there is no such source, or its kind does not fit the network.
        DataError: the source is damaged, empty or of the wrong shape.
    """
    if str(source) == SYNTHETIC:
        return SyntheticSamples(inputs)
    path = Path(source)
    if path.is_dir():
        return ImageFolder(path, one_image_input(inputs, path), preprocessing)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder (for synthetic inputs, say 'random')")
    if path.suffix in (".npy", ".npz"):
        return ArrayFile(path, inputs, preprocessing)
    raise UsageError(f"{path}: data is a folder of images, .npy, .npz, or 'random'")


def choose(samples: Samples, count: int) -> Iterator[tuple[str, Sample]]:
    """Yield up to ``count`` samples in a seeded order; unreadable ones are replaced by others.

    A folder sorted by class would otherwise give the first classes alone.
    """
    order = [int(i) for i in np.random.default_rng(0).permutation(len(samples))]
    taken = 0
    for named in samples.read(order):
        yield named
        taken += 1
        if taken == count:
            return
    if taken == 0:
        bad = f"; {len(samples.skipped)} could not be read" if samples.skipped else ""
        raise DataError(f"{samples.source} holds no usable sample{bad}")


def one_image_input(inputs: Sequence[TensorInfo], path: Path) -> TensorInfo:
    """The network's only input, an image.

    Raises:
        UsageError: the network takes something else than one image.
    """
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (1, 3):
        raise UsageError(
            f"{path} holds images, but the network's input is not one gray or color image; "
            "pass an .npz with one array per input"
        )
    return inputs[0]


@dataclass
class ImageFolder:
    """Every image below a folder, in the order of their paths."""

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
            raise DataError(f"{self.path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
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
    with Image.open(file) as opened:
        image = opened.convert("L" if channels == 1 else "RGB")
    shorter = preprocessing.resize if preprocessing and preprocessing.resize else 0
    scale = max(height / image.height, width / image.width, shorter / min(image.size))
    resized = image.resize(
        (max(width, round(image.width * scale)), max(height, round(image.height * scale))),
        Image.Resampling.BILINEAR,
    )
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    cropped = resized.crop((left, top, left + width, top + height))
    pixels = np.asarray(cropped, np.uint8).reshape(height, width, channels)
    return normalize(pixels.transpose(2, 0, 1)[None], preprocessing)


def normalize(
    pixels: npt.NDArray[np.uint8], preprocessing: Preprocessing | None
) -> npt.NDArray[np.float32]:
    """[N, C, H, W] bytes to ([0, 1] - mean) / std float32."""
    scaled: npt.NDArray[np.float32] = pixels.astype(np.float32) / np.float32(255)
    if preprocessing is None:
        return scaled
    mean = np.array(preprocessing.mean, np.float32).reshape(1, -1, 1, 1)
    std = np.array(preprocessing.std, np.float32).reshape(1, -1, 1, 1)
    normalized: npt.NDArray[np.float32] = np.ascontiguousarray((scaled - mean) / std)
    return normalized


@dataclass
class ArrayFile:
    """An ``.npy`` with one array, or an ``.npz`` with one array per input, by name or, for a
    single input, as ``x`` or alone. Shapes are [N, …] where the input is [batch, …].

    Floats are the network's inputs as they are; bytes for a float input are pixels, and are
    normalized like an image.
    """

    path: Path
    inputs: Sequence[TensorInfo]
    preprocessing: Preprocessing | None
    synthetic: bool = False
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = self.path.name
        arrays = load_arrays(self.path)
        self.arrays = [self._pick(arrays, info) for info in self.inputs]
        self.pixels = any(
            _is_pixels(array, info) for array, info in zip(self.arrays, self.inputs, strict=True)
        )
        counts = {len(array) for array in self.arrays}
        if len(counts) != 1:
            raise DataError(f"{self.path}: the arrays differ in their number of samples: {counts}")
        if counts == {0}:
            raise DataError(f"{self.path} holds no samples")

    def _pick(self, arrays: dict[str, npt.NDArray[Any]], info: TensorInfo) -> npt.NDArray[Any]:
        if len(self.inputs) == 1 and info.name not in arrays:
            array = arrays.get("x", next(iter(arrays.values())) if len(arrays) == 1 else None)
        else:
            array = arrays.get(info.name)
        if array is None:
            raise DataError(
                f"{self.path} has no array {info.name!r}; it has {', '.join(sorted(arrays))}"
            )
        if array.shape[1:] != info.shape[1:]:
            hint = ""
            if array.ndim == 4 and array.shape[1:] == (*info.shape[2:], info.shape[1]):
                hint = "; it looks like NHWC, transpose it to NCHW"
            raise DataError(
                f"{self.path} holds samples of shape {list(array.shape[1:])}, the input "
                f"{info.name!r} wants {list(info.shape[1:])}{hint}"
            )
        return array

    def __len__(self) -> int:
        return len(self.arrays[0])

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        for index in indices:
            yield (
                str(index),
                tuple(
                    self._sample(array[index : index + 1], info)
                    for array, info in zip(self.arrays, self.inputs, strict=True)
                ),
            )

    def _sample(self, array: npt.NDArray[Any], info: TensorInfo) -> npt.NDArray[Any]:
        if _is_pixels(array, info):
            return normalize(array, self.preprocessing)
        converted = np.ascontiguousarray(array, dtype=info.dtype)
        if not np.isfinite(converted).all():
            raise DataError(f"{self.path} holds NaN or infinite values; remove them")
        return converted


def _is_pixels(array: npt.NDArray[Any], info: TensorInfo) -> bool:
    return array.dtype == np.uint8 and info.dtype == "float32" and array.ndim == 4


def load_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an ``.npy`` (named ``x``) or ``.npz`` file; pickled objects are refused.

    Raises:
        UsageError: no such file.
        DataError: the file is damaged, or holds something else than arrays of numbers.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        if path.suffix == ".npy":
            arrays = {"x": np.load(path, mmap_mode="r", allow_pickle=False)}
        else:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a readable NumPy file: {error}") from error
    for name, array in arrays.items():
        if array.ndim == 0 or array.dtype.kind not in "fiub":
            raise DataError(f"{path}: {name!r} is not an array of samples")
    return arrays


class SyntheticSamples:
    """Seeded inputs with structure, for networks whose data is not at hand."""

    source = SYNTHETIC
    synthetic = True
    pixels = False

    def __init__(self, inputs: Sequence[TensorInfo], count: int = 1 << 16) -> None:
        self.inputs = inputs
        self.skipped: list[str] = []
        self._count = count

    def __len__(self) -> int:
        return self._count

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        for index in indices:
            # Inputs of one sample differ: their seeds never meet those of another sample.
            seeds = (index * len(self.inputs) + i for i in range(len(self.inputs)))
            sample = (synthetic_input(info, s) for info, s in zip(self.inputs, seeds, strict=True))
            yield str(index), tuple(sample)


def synthetic_input(info: TensorInfo, seed: int) -> npt.NDArray[Any]:
    """One sample [1, …] for an input: smooth fields and noise; zeros and ones for integers."""
    shape = (1, *info.shape[1:])
    if np.dtype(info.dtype).kind != "f":
        return np.random.default_rng(seed).integers(0, 2, shape).astype(info.dtype)
    if 2 <= len(shape) <= 4:
        return structured_input(shape, seed).numpy().astype(info.dtype)
    return np.random.default_rng(seed).standard_normal(shape).astype(info.dtype)
