"""Samples from ``.npy`` and ``.npz`` files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.array_file import UNNAMED, StoredArray, listed, open_arrays
from edgeconv.bundle import TensorInfo
from edgeconv.errors import DataError, MismatchedData, NoSamples
from edgeconv.export.data.preprocess import is_pixels, layout_hint, to_input
from edgeconv.export.data.samples import IndexedSamples, Sample
from edgeconv.preprocessing import Preprocessing


@dataclass
class ArrayFile(IndexedSamples):
    """Samples in an ``.npy`` file with one array, or in an ``.npz`` file with one array per input.

    The arrays of an ``.npz`` have the names of the inputs. The array of a single input may also be
    called ``x`` or have no name (``np.savez(file, array)``). Arrays are [N, …] where the input is
    [batch, …]. Floats are fed as they are; bytes for a float input are pixels, and are normalized
    like an image.

    Raises:
        UsageError: There is no such file.
        MismatchedData: An array is missing, or has the wrong shape.
        DataError: The file is damaged or empty, or its arrays differ in length.
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
            raise DataError(
                f"{self.path}: the arrays have different numbers of samples: "
                f"{', '.join(map(str, sorted(counts)))}",
                hint="store as many samples for each input",
            )
        if counts == {0}:
            raise NoSamples(f"{self.path} holds no samples", hint="store at least one sample")

    def _pick(self, arrays: dict[str, StoredArray], info: TensorInfo) -> StoredArray:
        names = (info.name, "x", UNNAMED) if len(self.inputs) == 1 else (info.name,)
        array = next((arrays[name] for name in names if name in arrays), None)
        if array is None:
            wanted = " and ".join(repr(each.name) for each in self.inputs)
            alias = " (or 'x')" if len(self.inputs) == 1 and info.name != "x" else ""
            raise MismatchedData(
                f"{self.path} has no array {info.name!r}: it has {listed(arrays)}, and the network "
                f"takes {wanted}{alias}",
                hint="rename the array in the file",
            )
        if array.shape[1:] != info.shape[1:]:
            raise MismatchedData(
                f"{self.path} holds samples of shape {list(array.shape[1:])}, the input "
                f"{info.name!r} wants {list(info.shape[1:])}",
                hint=layout_hint(array.shape[1:], info)
                or "give samples of that shape, or state another with "
                + ("--input-size" if len(self.inputs) == 1 else f"--input {info.name}:SHAPE"),
            )
        return array

    def __len__(self) -> int:
        return len(self.arrays[0])

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        """Yield (name, sample) for each index; the name is the index."""
        for index in indices:
            where = f"sample {index} of {self.path}"
            yield (
                str(index),
                tuple(
                    to_input(array.row(index), info, self.preprocessing, where)
                    for array, info in zip(self.arrays, self.inputs, strict=True)
                ),
            )
