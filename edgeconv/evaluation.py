"""What ``edgeconv evaluate`` found: versioned JSON that keeps the score of every sample."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from edgeconv.differences import (
    Difference,
    paired_difference,
    paired_means,
    unpaired_difference,
    unpaired_means,
)
from edgeconv.errors import DataError
from edgeconv.versioned import FileBytes, Record, Versioned, refuse_twice

SHARE = "share"  # the unit of a figure from 0 to 1, which people read in percent
TOP1 = "top-1"
MOST_PICTURES = 36
PICTURE_SIDE = 96  # pixels of the longer side
_MOST_CHARACTERS = 50_000  # of a picture in base64; 96 x 96 pixels that do not compress are 37,000
_PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode("ascii")[:10]


def packed(right: npt.NDArray[np.bool_]) -> str:
    """Booleans as base64 of one bit each, the first in the highest bit of the first byte."""
    return base64.b64encode(np.packbits(right).tobytes()).decode("ascii")


def packed_scores(scores: npt.NDArray[np.float64]) -> str:
    """Scores as base64 of their float64 in little-endian order."""
    return base64.b64encode(scores.astype("<f8").tobytes()).decode("ascii")


def packed_classes(indices: npt.NDArray[np.integer[Any]], classes: int) -> str:
    """Indices of ``classes`` classes as base64 of the narrowest little-endian integers."""
    return base64.b64encode(indices.astype(_class_type(classes)).tobytes()).decode("ascii")


def _class_type(classes: int) -> str:
    return "<u1" if classes <= 1 << 8 else "<u2" if classes <= 1 << 16 else "<u4"


class Figure(Record):
    """One figure of a file, over ``samples`` samples or what else ``of`` says."""

    name: str
    value: float
    unit: str = Field(description="share, from 0 to 1; or the unit of the value, empty for none")
    better: Literal["higher", "lower"]
    samples: int = Field(ge=1)
    of: str = "samples"


def top1_figure(value: Any, samples: Any) -> Figure:
    """The share of samples whose largest output is their class."""
    return Figure(name=TOP1, value=value, unit=SHARE, better="higher", samples=samples)


class AgainstFloat(Record):
    """The first figure less that of a float32 file on the same samples, with its 95 % interval.

    Where the figure is no mean over samples the interval is None.
    """

    path: str
    change: float
    low: float | None
    high: float | None


class Accuracy(Record):
    """The figures of one file; the first is the one that decides.

    ``outcomes`` or ``scores`` have what the first figure is the mean of, where it is one; with
    ``root`` it is the root of their mean.
    """

    path: str
    bytes: FileBytes = Field(description="of the file")
    runtime: str
    figures: tuple[Figure, ...] = Field(min_length=1)
    outcomes: str | None = Field(
        default=None, description="see packed(): a sample's bit is 1 if it was recognized"
    )
    scores: str | None = Field(default=None, description="see packed_scores()")
    root: bool = False
    against_float: AgainstFloat | None = None
    ties: int = Field(
        default=0, ge=0, description="samples in which equal scores decide about the best five"
    )
    predictions: str | None = Field(
        default=None, description="of a classifier: the class of each sample; see packed_classes()"
    )

    @field_validator("runtime")
    @classmethod
    def _named_as_today(cls, runtime: str) -> str:
        """Up to version 3, LiteRT was named after its package."""
        return runtime.removeprefix("ai-edge-")

    @property
    def decisive(self) -> Figure:
        """The first figure."""
        return self.figures[0]

    @property
    def loses(self) -> bool:
        """Whether it is worse than float32 beyond chance."""
        found = self.against_float
        if found is None or found.low is None or found.high is None:
            return False
        return found.high < 0 if self.decisive.better == "higher" else found.low > 0

    @property
    def top1(self) -> float:
        """The share of samples whose largest output is their class, of a classifier."""
        return next(figure.value for figure in self.figures if figure.name == TOP1)

    @property
    def correct(self) -> int:
        """The number of such samples."""
        return round(self.top1 * self.decisive.samples)


class Picture(Record):
    """A sample whose class int8 changed, as the network saw it: a small PNG in base64."""

    sample: int = Field(ge=0)
    png: str = Field(max_length=_MOST_CHARACTERS, pattern=r"^[A-Za-z0-9+/]+={0,2}$")

    @field_validator("png")
    @classmethod
    def _is_png(cls, png: str) -> str:
        if not png.startswith(_PNG):
            raise ValueError("it is no PNG")
        return png


class Evaluation(Versioned):
    """One evaluation of all files of a bundle.

    ``data_sha256`` is over the data as it lies on disk: two evaluations with the same one, and the
    same samples skipped, saw the same samples in the same order.

    A classifier also has ``classes``, their number, with their ``labels`` where they are known, and
    the class of each sample in ``truths``. ``pictures`` are the first samples that int8 changed, of
    those that were asked for.
    """

    WHAT = "a result of edgeconv evaluate"
    REDO = "evaluate again"
    ERROR = DataError
    OLDER = (2, 3)

    # 1 had no kind and no outcomes, 2 only top-1, 3 no classes and no pictures
    schema_version: int = 4
    kind: Literal["accuracy"] = "accuracy"
    task: str
    data: str
    data_sha256: str
    samples: int = Field(ge=1)
    skipped: tuple[str, ...]
    results: tuple[Accuracy, ...] = Field(min_length=1)
    classes: int | None = Field(default=None, ge=2, lt=1 << 32)
    labels: tuple[str, ...] | None = None
    truths: str | None = Field(default=None, description="see packed_classes()")
    pictures: tuple[Picture, ...] = Field(default=(), max_length=MOST_PICTURES)

    @model_validator(mode="after")
    def _no_file_twice(self) -> Evaluation:
        refuse_twice(result.path for result in self.results)
        return self

    @model_validator(mode="before")
    @classmethod
    def _of_version_2(cls, fields: Any) -> Any:
        """Version 2 had top-1 alone, and stated neither the task nor the figure."""
        if not isinstance(fields, dict) or fields.get("schema_version") != 2:
            return fields
        results = [
            {name: value for name, value in result.items() if name not in ("top1", "correct")}
            | {"figures": (top1_figure(result.get("top1"), fields.get("samples")),)}
            for result in fields.get("results", ())
            if isinstance(result, dict)
        ]
        return fields | {"task": "classification", "results": results}

    @model_validator(mode="after")
    def _scores_agree(self) -> Evaluation:
        for result in self.results:
            scores = self.scores(result)
            if scores is None:
                continue
            mean = math.fsum(scores) / self.samples
            figure = math.sqrt(mean) if result.root else mean
            if not math.isclose(figure, result.decisive.value, rel_tol=1e-9, abs_tol=1e-12):
                raise ValueError(
                    f"the scores of {result.path} are not those of its {result.decisive.name}"
                )
        return self

    @model_validator(mode="after")
    def _classes_agree(self) -> Evaluation:
        truths = self.true_classes
        for result in self.results:
            predicted, right = self.predicted_classes(result), self.scores(result)
            if predicted is None:
                continue
            if truths is None or right is None or not np.array_equal(predicted == truths, right):
                raise ValueError(f"the predictions of {result.path} are not those of its outcomes")
        if any(picture.sample >= self.samples for picture in self.pictures):
            raise ValueError("a picture is of a sample that is not there")
        return self

    @property
    def true_classes(self) -> npt.NDArray[Any] | None:
        """The index of the class of each sample; None of other tasks and of older results.

        Raises:
            ValueError: It is damaged.
        """
        return self._class_indices(self.truths, "truths")

    def predicted_classes(self, result: Accuracy) -> npt.NDArray[Any] | None:
        """The index of the class that a file gave each sample, or None.

        Raises:
            ValueError: It is damaged.
        """
        return self._class_indices(result.predictions, f"predictions of {result.path}")

    def label(self, index: int) -> str:
        """The name of a class, or its number."""
        known = self.labels or ()
        return known[index] if index < len(known) else str(index)

    def _class_indices(self, text: str | None, what: str) -> npt.NDArray[Any] | None:
        if text is None:
            return None
        if self.classes is None:
            raise ValueError(f"the {what} are of an unknown number of classes")
        try:
            data = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the {what} are not base64") from error
        dtype = np.dtype(_class_type(self.classes))
        if len(data) != dtype.itemsize * self.samples:
            raise ValueError(f"the {what} are not {self.samples}")
        indices = np.frombuffer(data, dtype)
        if indices.max() >= self.classes:
            raise ValueError(f"the {what} name classes that are not there")
        return indices

    def scores(self, result: Accuracy) -> npt.NDArray[Any] | None:
        """What the first figure of ``result`` is the mean of: bool or float64 [samples], or None.

        Raises:
            ValueError: It is damaged.
        """
        text = result.scores if result.outcomes is None else result.outcomes
        if text is None:
            return None
        try:
            data = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the outcomes of {result.path} are not base64") from error
        is_bits = result.outcomes is not None
        if len(data) != ((self.samples + 7) // 8 if is_bits else 8 * self.samples):
            raise ValueError(f"the outcomes of {result.path} are not {self.samples}")
        if is_bits:
            return np.unpackbits(np.frombuffer(data, np.uint8), count=self.samples).astype(np.bool_)
        return np.frombuffer(data, "<f8")

    def same_samples(self, other: Evaluation) -> bool:
        """Whether sample i of both is the same."""
        mine, others = ((e.data_sha256, e.samples, frozenset(e.skipped)) for e in (self, other))
        return mine == others


def difference(
    before: npt.NDArray[Any], after: npt.NDArray[Any], *, paired: bool, root: bool
) -> Difference:
    """The difference of two first figures, by what they are the means of.

    Args:
        before: Bool or float64 [samples].
        after: The same of the other file.
        paired: Whether sample i of both is the same.
        root: Whether the figures are the roots of the means.
    """
    if before.dtype == np.bool_:
        if paired:
            return paired_difference(before, after)
        return unpaired_difference((int(before.sum()), len(before)), (int(after.sum()), len(after)))
    return (paired_means if paired else unpaired_means)(before, after, root=root)
