"""Samples from a Python function of the user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgeconv.bundle import TensorInfo
from edgeconv.errors import DataError, UsageError, first_line
from edgeconv.export.capture.factory import load_named
from edgeconv.export.data.objects import Reader
from edgeconv.export.data.samples import Sample, Samples
from edgeconv.preprocessing import Preprocessing


class FunctionSamples(Samples):
    """The samples that ``file.py:function`` yields. The first ones are taken.

    What it may yield, or return, as a ``DataLoader``, is what
    :class:`edgeconv.export.data.objects.Reader` reads.

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
            raise UsageError(
                f"{spec} is a {type(self.function).__name__}, not a function",
                hint="name a function, as file.py:function",
            )
        self._reader = Reader(inputs, preprocessing)
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
        count = 0
        for item in self._items():
            where = f"sample {count} of {self.source}"
            for sample in self._reader.samples(item, where):
                self.pixels = self._reader.pixels
                yield str(count), sample
                count += 1

    def _items(self) -> Iterator[Any]:
        """Yield what the function yields; an error in it becomes a DataError of one line."""
        try:
            items = self.function()
            if not isinstance(items, Iterable):
                kind = type(items).__name__
                raise DataError(
                    f"{self.source} returned a {kind}",
                    hint="yield samples, or return a DataLoader or a list of them",
                )
            yield from items
        except DataError:
            raise
        except Exception as error:  # the user's own code: anything can come out of it
            line = first_line(error)
            raise DataError(
                f"{self.source} raised {type(error).__name__}: {line}",
                hint="call it in Python to see where",
            ) from error
