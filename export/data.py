"""Samples for calibration, verification and evaluation, read one at a time.

Sources: a folder of images, ``.npy``, ``.npz``, a function of the user's, or synthetic inputs
asked for by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Preprocessing, TensorInfo
from edgeconv.errors import DataError, MismatchedData, UsageError
from edgeconv.export.array_file import UNNAMED, StoredArray, listed, open_arrays
from edgeconv.export.function_samples import FunctionSamples
from edgeconv.export.images import ImageFolder, load_image, one_image_input
from edgeconv.export.integer_inputs import FLAGS
from edgeconv.export.network_input import is_pixels, layout_hint, to_input
from edgeconv.export.samples import IndexedSamples, Sample, Samples, choose
from edgeconv.models.randomize import structured_input

__all__ = [
    "SYNTHETIC",
    "ArrayFile",
    "FunctionSamples",
    "ImageFolder",
    "IndexedSamples",
    "Sample",
    "Samples",
    "SyntheticSamples",
    "choose",
    "load_image",
    "open_samples",
    "synthetic_input",
]

SYNTHETIC = "random"


def open_samples(
    source: str | Path,
    inputs: Sequence[TensorInfo],
    preprocessing: Preprocessing | None,
    spans: Mapping[str, range] | None = None,
) -> Samples:
    """Open a source of samples for a network with these inputs.

    Args:
        spans: what synthetic integers are drawn from, by the input's name.

    Raises:
        UsageError: there is no such source, or its kind does not fit the network.
        DataError: the source is damaged, empty or of the wrong shape.
    """
    if str(source) == SYNTHETIC:
        return SyntheticSamples(inputs, spans)
    if ".py:" in str(source):
        return FunctionSamples(str(source), inputs, preprocessing)
    path = Path(source)
    if path.is_dir():
        return ImageFolder(path, one_image_input(inputs, path), preprocessing)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder (for synthetic inputs, say 'random')")
    if path.suffix in (".npy", ".npz"):
        return ArrayFile(path, inputs, preprocessing)
    raise UsageError(
        f"{path}: data is a folder of images, .npy, .npz, file.py:function or 'random'"
    )


@dataclass
class ArrayFile(IndexedSamples):
    """An ``.npy`` with one array, or an ``.npz`` with one array per input, by name or, for a
    single input, as ``x`` or without a name (``np.savez(file, array)``). Shapes are [N, …] where
    the input is [batch, …].

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
        arrays = open_arrays(self.path)
        self.arrays = [self._pick(arrays, info) for info in self.inputs]
        self.pixels = any(
            is_pixels(array.dtype, info)
            for array, info in zip(self.arrays, self.inputs, strict=True)
        )
        counts = {len(array) for array in self.arrays}
        if len(counts) != 1:
            raise DataError(f"{self.path}: the arrays differ in their number of samples: {counts}")
        if counts == {0}:
            raise DataError(f"{self.path} holds no samples")

    def _pick(self, arrays: dict[str, StoredArray], info: TensorInfo) -> StoredArray:
        names = (info.name, "x", UNNAMED) if len(self.inputs) == 1 else (info.name,)
        array = next((arrays[name] for name in names if name in arrays), None)
        if array is None:
            wanted = " and ".join(repr(each.name) for each in self.inputs)
            alias = " (or 'x')" if len(self.inputs) == 1 and info.name != "x" else ""
            raise MismatchedData(
                f"{self.path} has no array {info.name!r}: it has {listed(arrays)}, and the network "
                f"takes {wanted}{alias}; rename the array in the file"
            )
        if array.shape[1:] != info.shape[1:]:
            raise MismatchedData(
                f"{self.path} holds samples of shape {list(array.shape[1:])}, the input "
                f"{info.name!r} wants {list(info.shape[1:])}{layout_hint(array.shape[1:], info)}"
            )
        return array

    def __len__(self) -> int:
        return len(self.arrays[0])

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        for index in indices:
            yield (
                str(index),
                tuple(
                    to_input(array.row(index), info, self.preprocessing, str(self.path))
                    for array, info in zip(self.arrays, self.inputs, strict=True)
                ),
            )


class SyntheticSamples(IndexedSamples):
    """Seeded inputs with structure, for networks whose data is not at hand."""

    source = SYNTHETIC
    synthetic = True
    pixels = False

    def __init__(
        self, inputs: Sequence[TensorInfo], spans: Mapping[str, range] | None = None
    ) -> None:
        self.inputs, self._spans = inputs, spans or {}
        self.skipped: list[str] = []

    def __len__(self) -> int:
        return 1 << 16

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        for index in indices:
            # Inputs of one sample differ: their seeds never meet those of another sample.
            seeds = (index * len(self.inputs) + i for i in range(len(self.inputs)))
            sample = (
                synthetic_input(info, s, self._spans.get(info.name, FLAGS))
                for info, s in zip(self.inputs, seeds, strict=True)
            )
            yield str(index), tuple(sample)


def synthetic_input(info: TensorInfo, seed: int, span: range = FLAGS) -> npt.NDArray[Any]:
    """One sample [1, …] for an input: smooth fields and noise; for integers, values of ``span``."""
    shape = (1, *info.shape[1:])
    if np.dtype(info.dtype).kind != "f":
        integers = np.random.default_rng(seed).integers(span.start, span.stop, shape)
        return integers.astype(info.dtype)
    if 2 <= len(shape) <= 4 and 0 not in shape:
        return structured_input(shape, seed).numpy().astype(info.dtype)
    return np.random.default_rng(seed).standard_normal(shape).astype(info.dtype)
