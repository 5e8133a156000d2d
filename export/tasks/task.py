"""What a task is: how outputs are held against the truth, and what figures that gives."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Manifest, TensorInfo
from edgeconv.errors import Notice
from edgeconv.evaluation import SHARE, Figure
from edgeconv.export.data.truth import Labeled

logger = logging.getLogger(__name__)

Arrays = Sequence[npt.NDArray[Any]]

T = TypeVar("T")  # what is true of a sample
C = TypeVar("C")  # what was counted on some samples
R = TypeVar("R", bound="Rows")


def first_output(manifest: Manifest) -> TensorInfo:
    """The output that a task reads; a warning names it where the network has others."""
    first, *others = manifest.outputs
    if others:
        logger.warning(
            Notice(
                f"the task reads the first output {first.name!r} of {1 + len(others)}",
                f"to judge {others[0].name!r}, export with --cut-outputs {others[0].name}, or pass "
                "--task file.py:metric, which gets all",
            )
        )
    return first


@dataclass(frozen=True)
class Classes:
    """The classes of all samples.

    Attributes:
        number: How many there are.
        predicted: The index of the class that the file gave each sample.
        true: The index of its class.
    """

    number: int
    predicted: npt.NDArray[np.int32]
    true: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Scored:
    """The figures of a file, and what the first one is the mean of, where it is one.

    Attributes:
        figures: The figures; the first decides.
        outcomes: A boolean for each sample.
        scores: Or a number for each sample.
        root: Whether the figure is the root of their mean.
        classes: What a classifier said of each sample.
        ties: In how many samples equal scores decide about the best five.
    """

    figures: tuple[Figure, ...]
    outcomes: npt.NDArray[np.bool_] | None = None
    scores: npt.NDArray[np.float64] | None = None
    root: bool = False
    classes: Classes | None = None
    ties: int = 0


class Task(Protocol, Generic[T, C]):
    """A task. What it counts on parts of the data merges to the bit to what it counts on all.

    Attributes:
        name: What the command line and the result call it.
    """

    name: str

    def open(self, data: Any, truth: Path | None, manifest: Manifest) -> Labeled[T]:
        """Open labeled samples for a network.

        Raises:
            UsageError: There is no such data, or the outputs do not fit the task.
            DataError: The data is damaged, or does not fit the network.
        """

    def count(self, outputs: Arrays, truths: Sequence[T]) -> C:
        """Count on one batch.

        Args:
            outputs: The network's outputs, a row for each sample.
            truths: What is true of each sample.
        """

    def merge(self, parts: Sequence[C]) -> C:
        """Merge what was counted on parts of the data, in their order."""

    def score(self, counts: C, reference: C | None) -> Scored:
        """The figures of a file.

        Args:
            counts: What was counted on all samples.
            reference: The same of a float32 file; None where the bundle has none.
        """

    def doubts(self, counts: C) -> list[Notice]:
        """What speaks for a figure that comes from a misread output or truth, not from the network.

        Args:
            counts: What was counted for a float32 file, or else for any.
        """


@dataclass(frozen=True)
class Rows:
    """Arrays with a row for each sample; parts are joined in their order."""

    arrays: tuple[npt.NDArray[Any], ...]

    def __len__(self) -> int:
        return len(self.arrays[0])

    @classmethod
    def joined(cls: type[R], parts: Sequence[R]) -> R:
        """All rows of the parts."""
        columns = zip(*(part.arrays for part in parts), strict=True)
        return cls(tuple(np.concatenate(column) for column in columns))


class ClassRows(Rows):
    """The rank, the predicted and the true class of each sample, and whether a tie decides."""

    @property
    def predicted(self) -> npt.NDArray[np.int32]:
        """The index of the class that comes first."""
        return self.arrays[1]


def of_sample(outputs: Arrays, index: int, count: int) -> list[Any]:
    """The outputs of one of ``count`` samples; one without a row for each is passed whole.

    They are copies: a function of the user's may write to them.
    """
    return [
        (output[index] if output.ndim and len(output) == count else output).copy()
        for output in outputs
    ]


def of_batch(output: npt.NDArray[Any], batch: int, count: int) -> npt.NDArray[Any]:
    """The rows of the first ``count`` samples of a batch, where the output has a row for each."""
    return output[:count] if output.ndim and len(output) == batch else output


def shapes(arrays: Sequence[Any]) -> str:
    """The shapes of arrays and numbers, for a message."""
    return ", ".join(str(list(np.shape(array))) for array in arrays)


def share(name: str, value: float, samples: int, of: str = "samples") -> Figure:
    """A figure from 0 to 1, the higher the better."""
    return Figure(name=name, value=value, unit=SHARE, better="higher", samples=samples, of=of)
