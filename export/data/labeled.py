"""Labeled samples from Python objects: a pair of arrays, a dataset, or a loader."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from edgeconv.bundle import TensorInfo
from edgeconv.errors import DataError, MismatchedData, UsageError, first_line
from edgeconv.export.data.objects import Reader, as_array
from edgeconv.export.data.samples import Sample
from edgeconv.preprocessing import Preprocessing


class LabeledObject:
    """Samples with the index of their class, as often as they are asked for.

    Args:
        data: A tuple of samples and labels, or an iterable of such pairs, whose items may hold
            several samples: a list, a ``Dataset`` or a ``DataLoader``.
        inputs: The network's inputs.
        preprocessing: How pixels are normalized.
        classes: How many classes the network has.

    Raises:
        UsageError: ``data`` is something else, or can be read only once.
    """

    def __init__(
        self,
        data: Any,
        inputs: Sequence[TensorInfo],
        preprocessing: Preprocessing | None,
        classes: int,
    ) -> None:
        self.name = "arrays" if isinstance(data, tuple) else type(data).__name__
        self._data, self._classes = data, classes
        self._reader = Reader(inputs, preprocessing)
        self._digest = hashlib.sha256()
        is_indexed = hasattr(data, "__getitem__") and hasattr(data, "__len__")
        if not is_indexed and (not isinstance(data, Iterable) or iter(data) is data):
            raise UsageError(
                f"labeled samples cannot be read from a {self.name}, several times",
                hint="pass a path, a tuple of samples and labels, a Dataset or a DataLoader",
            )

    @property
    def sha256(self) -> str:
        """A hash of what was read so far."""
        return self._digest.hexdigest()

    def count(self) -> int:
        """How many samples there are.

        Where items hold several samples, or nothing states their number, all items are read once.

        Raises:
            DataError: The object fails.
        """
        if isinstance(self._data, tuple):
            return len(self._data[-1])
        stated = getattr(self._data, "dataset", self._data)
        first = next(iter(self._items()), None)
        loads_batches = getattr(self._data, "batch_size", None) is not None
        if hasattr(stated, "__len__") and (loads_batches or _samples_in(first) == 1):
            return len(stated)
        return sum(map(_samples_in, self._items()))

    def __iter__(self) -> Iterator[tuple[Sample, int]]:
        """Yield each sample with its class.

        Raises:
            DataError: The object fails, or holds something else.
        """
        self._digest = hashlib.sha256()
        for index, item in enumerate(self._items()):
            where = f"item {index} of the {self.name}"
            if not isinstance(item, (tuple, list)) or len(item) < 2:
                raise MismatchedData(f"{where} has no label", hint="yield (sample, label)")
            samples = self._reader.samples(tuple(item[:-1]), where)
            labels = np.atleast_1d(as_array(item[-1]))
            if labels.shape != (len(samples),) or labels.dtype.kind not in "iu":
                raise MismatchedData(
                    f"{where} has labels of shape {list(labels.shape)} and {labels.dtype} for "
                    f"{len(samples)} samples",
                    hint="give the index of the class of each sample",
                )
            for sample, label in zip(samples, labels.tolist(), strict=True):
                if not 0 <= label < self._classes:
                    raise MismatchedData(
                        f"{where} is of class {label}, and the network has {self._classes} classes",
                        hint="number the classes from 0, as the network does",
                    )
                for array in sample:
                    self._digest.update(np.ascontiguousarray(array).data)
                self._digest.update(str(label).encode())
                yield sample, label

    def _items(self) -> Iterator[Any]:
        data = self._data
        try:
            if isinstance(data, tuple):
                yield data
            elif hasattr(data, "__getitem__") and hasattr(data, "__len__"):
                for index in range(len(data)):
                    yield data[index]
            else:
                yield from data
        except Exception as error:  # the user's own code: anything can come out of it
            raise DataError(
                f"the {self.name} raised {type(error).__name__}: {first_line(error)}",
                hint="call it in Python to see where",
            ) from error


def _samples_in(item: Any) -> int:
    """How many samples an item holds, by its labels; 1 without any, which is refused later."""
    if not isinstance(item, (tuple, list)) or not item:
        return 1
    return np.atleast_1d(as_array(item[-1])).size
