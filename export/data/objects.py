"""Samples from Python objects: arrays, lists, datasets, generators and loaders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgeconv.bundle import TensorInfo
from edgeconv.errors import DataError, MismatchedData, NoSamples, UsageError, first_line
from edgeconv.export.data.preprocess import is_pixels, layout_hint, to_input
from edgeconv.export.data.samples import IndexedSamples, Sample, Samples
from edgeconv.preprocessing import Preprocessing


def as_array(value: Any) -> npt.NDArray[Any]:
    """An array or a tensor of any device and type as an array; NumPy has no bfloat16.

    Raises:
        Exception: What the object's own conversion raises.
    """
    if callable(getattr(value, "detach", None)):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
    return np.asarray(value)


class Reader:
    """Turns what a user's object yields into samples.

    An item is an array, a tuple or list with one array per input, or a dict of them by the names of
    the inputs; a label after the arrays is left out. Anything that NumPy can read as an array will
    do, such as a tensor on the CPU. An item may hold several samples along its first dimension.
    Bytes for a float input are pixels, and are normalized like an image.

    Args:
        inputs: The network's inputs.
        preprocessing: How pixels are normalized.
    """

    def __init__(self, inputs: Sequence[TensorInfo], preprocessing: Preprocessing | None) -> None:
        self.inputs, self.preprocessing = inputs, preprocessing
        self.pixels = False

    def samples(self, item: Any, where: str) -> list[Sample]:
        """The samples of one item.

        Args:
            item: The item.
            where: What it is, for the message.

        Raises:
            MismatchedData: It does not fit the network's inputs.
            DataError: It is not an array, or holds a NaN or an infinity.
        """
        values = self._values(item, where)
        arrays = [
            self._array(value, info, where) for value, info in zip(values, self.inputs, strict=True)
        ]
        counts = {len(array) for array in arrays}
        if len(counts) != 1:
            raise MismatchedData(
                f"{where} has different numbers of samples for its inputs",
                hint="give as many samples for each input",
            )
        return [tuple(array[i : i + 1] for array in arrays) for i in range(counts.pop())]

    def _values(self, item: Any, where: str) -> Sequence[Any]:
        wanted = len(self.inputs)
        if isinstance(item, Mapping):
            missing = [info.name for info in self.inputs if info.name not in item]
            if missing:
                found = ", ".join(map(repr, item)) or "nothing"
                raise MismatchedData(
                    f"{where} has no {missing[0]!r}, it has {found}",
                    hint="name the arrays as the network names its inputs",
                )
            return [item[info.name] for info in self.inputs]
        several = isinstance(item, tuple) or (
            isinstance(item, list) and all(hasattr(each, "__array__") for each in item[:wanted])
        )
        values = item if several else (item,)
        if len(values) == wanted + 1:
            values = values[:wanted]
        if len(values) != wanted:
            count = len(values)
            raise MismatchedData(
                f"{where} has {count} array{'s' * (count != 1)}, the network {wanted} "
                f"input{'s' * (wanted != 1)}",
                hint="give one array per input, and at most a label after them",
            )
        return values

    def _array(self, value: Any, info: TensorInfo, where: str) -> npt.NDArray[Any]:
        try:
            array = as_array(value)
        except Exception as error:  # NumPy raises what the object's own conversion raises
            raise DataError(
                f"{where} is not an array: {first_line(error)}",
                hint="give NumPy arrays or tensors of numbers",
            ) from error
        shape = info.shape[1:]
        if array.shape == shape:
            array = array[None]
        fits = array.ndim > 0 and array.shape[1:] == shape
        if array.dtype.kind not in "fiub" or not fits:
            if isinstance(value, (Image.Image, str, PurePath)):
                what = "a path or text" if isinstance(value, (str, PurePath)) else "a picture"
                raise MismatchedData(
                    f"{where} is {what} of type {type(value).__name__}, the input {info.name!r} "
                    f"wants {info.dtype} of {list(shape)}",
                    hint="apply the network's transform, which makes tensors, to each, or pass the "
                    "folder of images",
                )
            raise MismatchedData(
                f"{where} is {array.dtype} of shape {list(array.shape)}, the input {info.name!r} "
                f"wants {info.dtype} of {list(shape)}",
                hint=layout_hint(array.shape[-3:], info)
                or "give samples of that type and shape, or batches of them",
            )
        self.pixels |= is_pixels(array.dtype, info)
        return to_input(array, info, self.preprocessing, where)


class ArraySamples(IndexedSamples):
    """Samples along the first dimension of arrays in memory.

    Args:
        arrays: An array per input, by its name; a single input may have any name.
        inputs: The network's inputs.
        preprocessing: How pixels are normalized.

    Raises:
        MismatchedData: An array is missing, or has the wrong shape.
        DataError: The arrays are empty, or differ in length.
    """

    source = "arrays"
    synthetic = False

    def __init__(
        self,
        arrays: Mapping[str, Any],
        inputs: Sequence[TensorInfo],
        preprocessing: Preprocessing | None,
    ) -> None:
        self.skipped: list[str] = []
        self._reader = Reader(inputs, preprocessing)
        if len(inputs) == len(arrays) == 1:
            arrays = {inputs[0].name: next(iter(arrays.values()))}
        self._arrays = {name: as_array(array) for name, array in arrays.items()}
        counts = {len(array) if array.ndim else 0 for array in self._arrays.values()}
        if len(counts) != 1 or counts == {0}:
            raise DataError(
                "the arrays hold no samples, or different numbers of them",
                hint="put the samples along the first dimension",
            )
        (self._count,) = counts
        self._read(0)
        self.pixels = self._reader.pixels

    def __len__(self) -> int:
        return self._count

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        """Yield (name, sample) for each index; the name is the index."""
        for index in indices:
            yield str(index), self._read(index)

    def _read(self, index: int) -> Sample:
        row = {name: array[index : index + 1] for name, array in self._arrays.items()}
        (sample,) = self._reader.samples(row, f"sample {index}")
        return sample


class DatasetSamples(IndexedSamples):
    """Samples of a list or of a ``Dataset``, by their positions."""

    synthetic = False
    repeats_itself = False

    def __init__(
        self,
        dataset: Any,
        inputs: Sequence[TensorInfo],
        preprocessing: Preprocessing | None,
    ) -> None:
        self.source = type(dataset).__name__
        self.skipped: list[str] = []
        self._dataset, self._reader = dataset, Reader(inputs, preprocessing)
        if len(dataset) == 0:
            raise NoSamples(f"the {self.source} is empty", hint="pass one with samples")
        self._read(0)
        self.pixels = self._reader.pixels

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, Sample]]:
        """Yield (name, sample) for each index; the name is the index."""
        for index in indices:
            yield str(index), self._read(index)

    def _read(self, index: int) -> Sample:
        where = f"sample {index} of the {self.source}"
        try:
            item = self._dataset[index]
        except Exception as error:  # the user's own code: anything can come out of it
            raise DataError(
                f"{where} raised {type(error).__name__}: {first_line(error)}",
                hint="call it in Python to see where",
            ) from error
        samples = self._reader.samples(item, where)
        if len(samples) != 1:
            raise MismatchedData(
                f"{where} is {len(samples)} samples",
                hint="pass a DataLoader, an iterator such as iter(batches), or torch.cat(batches)",
            )
        return samples[0]


class IterableSamples(Samples):
    """Samples of a generator, a ``DataLoader`` or another iterable. The first ones are taken.

    What can be iterated only once is kept in memory as far as it was read.
    """

    synthetic = False
    repeats_itself = False

    def __init__(
        self,
        items: Iterable[Any],
        inputs: Sequence[TensorInfo],
        preprocessing: Preprocessing | None,
    ) -> None:
        self.source = type(items).__name__
        self.skipped: list[str] = []
        self._items, self._reader = items, Reader(inputs, preprocessing)
        self._once = iter(items) is items
        self._kept: list[Sample] = []
        self.pixels = False

    def at_most(self, count: int) -> int:
        """The number ``count``: how many samples there are is not known before."""
        return count

    def in_order(self) -> Iterator[tuple[str, Sample]]:
        """Yield (name, sample) in the order of the items; the name is the position."""
        for index, sample in enumerate(self._kept):
            yield str(index), sample
        count = len(self._kept)
        for item in self._safely():
            for sample in self._reader.samples(item, f"item {count} of the {self.source}"):
                self.pixels = self._reader.pixels
                if self._once:
                    self._kept.append(sample)
                yield str(count), sample
                count += 1

    def _safely(self) -> Iterator[Any]:
        try:
            yield from self._items
        except Exception as error:  # the user's own code: anything can come out of it
            raise DataError(
                f"the {self.source} raised {type(error).__name__}: {first_line(error)}",
                hint="call it in Python to see where",
            ) from error


def object_samples(
    data: Any, inputs: Sequence[TensorInfo], preprocessing: Preprocessing | None
) -> Samples:
    """Open an object as a source of samples.

    Raises:
        UsageError: It is not an array, list, dict of arrays, dataset or iterable.
        DataError: It is empty or of the wrong shape.
    """
    if isinstance(data, Mapping):
        return ArraySamples(data, inputs, preprocessing)
    if hasattr(data, "__array__"):  # NumPy's, and tensors
        return ArraySamples({"x": data}, inputs, preprocessing)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return DatasetSamples(data, inputs, preprocessing)
    if isinstance(data, Iterable):
        return IterableSamples(data, inputs, preprocessing)
    if callable(data):
        raise UsageError(
            f"samples cannot be read from the function {getattr(data, '__name__', data)}",
            hint="call it, and pass the generator or the list that it returns",
        )
    raise UsageError(
        f"samples cannot be read from an object of type {type(data).__name__}",
        hint="pass a path, an array, a list, a generator, a Dataset or a DataLoader",
    )
