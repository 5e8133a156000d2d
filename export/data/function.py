"""Samples from a Python function of the user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Preprocessing, TensorInfo
from edgeconv.errors import DataError, MismatchedData, UsageError, first_line
from edgeconv.export.capture.source import load_named
from edgeconv.export.data.preprocess import is_pixels, layout_hint, to_input
from edgeconv.export.data.samples import Sample, Samples


class FunctionSamples(Samples):
    """The samples that ``file.py:function`` yields. The first ones are taken.

    A sample is an array, or a tuple with one array per input, with or without a batch dimension of
    1. Anything that NumPy can read as an array will do, such as a tensor on the CPU. Bytes for a
    float input are pixels, and are normalized like an image.

    Args:
        spec: The file and the function, as ``file.py:function``.
        inputs: The network's inputs.
        preprocessing: How pixels are normalized.

    Raises:
        UsageError: There is no such function.
    """

    synthetic = False
    repeats_itself = False

    def __init__(
        self, spec: str, inputs: Sequence[TensorInfo], preprocessing: Preprocessing | None
    ) -> None:
        path = Path(spec.rpartition(":")[0])
        self.source = f"{path.name}:{spec.rpartition(':')[2]}"
        self.function = load_named(spec)
        if not callable(self.function):
            raise UsageError(f"{spec} is a {type(self.function).__name__}, not a function")
        self.inputs, self.preprocessing = inputs, preprocessing
        self.pixels = False
        self.skipped: list[str] = []

    def at_most(self, count: int) -> int:
        """The number ``count``: how many samples the function yields is not known before."""
        return count

    def in_order(self) -> Iterator[tuple[str, Sample]]:
        """Yield (name, sample) as the function does; the name is the position.

        Raises:
            DataError: The function fails, or yields something else than arrays.
            MismatchedData: A sample does not fit the network's inputs.
        """
        for index, item in enumerate(self._items()):
            yield str(index), self._sample(item, f"sample {index} of {self.source}")

    def _items(self) -> Iterator[Any]:
        """Yield what the function yields; an error in it becomes a DataError of one line."""
        try:
            items = self.function()
            if not isinstance(items, Iterable):
                kind = type(items).__name__
                raise DataError(
                    f"{self.source} returned a {kind}", hint="yield one array per sample"
                )
            yield from items
        except DataError:
            raise
        except Exception as error:  # the user's own code: anything can come out of it
            line = first_line(error)
            raise DataError(f"{self.source} raised {type(error).__name__}: {line}") from error

    def _sample(self, item: Any, where: str) -> Sample:
        values = item if isinstance(item, tuple) else (item,)
        if len(values) != len(self.inputs):
            count, wanted = len(values), len(self.inputs)
            raise MismatchedData(
                f"{where} has {count} array{'s' * (count != 1)}, the network {wanted} "
                f"input{'s' * (wanted != 1)}",
                hint="yield one array per input and no labels",
            )
        return tuple(
            self._array(value, info, where) for value, info in zip(values, self.inputs, strict=True)
        )

    def _array(self, value: Any, info: TensorInfo, where: str) -> npt.NDArray[Any]:
        try:
            array = np.asarray(value)
        except Exception as error:  # NumPy raises what the object's own conversion raises
            raise DataError(f"{where} is not an array: {error}") from error
        shape = info.shape[1:]
        if array.dtype.kind not in "fiub" or array.shape not in (shape, (1, *shape)):
            raise MismatchedData(
                f"{where} is {array.dtype} of shape {list(array.shape)}, the input {info.name!r} "
                f"wants {info.dtype} of {list(shape)}",
                hint=layout_hint(array.shape[-3:], info),
            )
        array = array.reshape(1, *shape)
        self.pixels |= is_pixels(array.dtype, info)
        return to_input(array, info, self.preprocessing, where)
