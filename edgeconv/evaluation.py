"""What ``edgeconv evaluate`` found: versioned JSON that keeps the outcome of every sample."""

from __future__ import annotations

import base64
import binascii
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from edgeconv.errors import DataError
from edgeconv.versioned import Record, Versioned


def packed(right: npt.NDArray[np.bool_]) -> str:
    """Booleans as base64 of one bit each, the first in the highest bit of the first byte."""
    return base64.b64encode(np.packbits(right).tobytes()).decode("ascii")


class Accuracy(Record):
    """Top-1 of one file: the share of samples whose largest output is their class."""

    path: str
    bytes: int = Field(gt=0, description="of the file")
    runtime: str
    top1: float
    correct: int
    outcomes: str = Field(description="see packed(): a sample's bit is 1 if it was recognized")


class Evaluation(Versioned):
    """One evaluation of all files of a bundle.

    ``data_sha256`` is over the data as it lies on disk: two evaluations with the same one, and the
    same samples skipped, saw the same samples in the same order.
    """

    WHAT = "a result of edgeconv evaluate"
    REDO = "evaluate again"
    ERROR = DataError

    schema_version: int = 2  # 1 had no kind and no outcomes
    kind: Literal["accuracy"] = "accuracy"
    data: str
    data_sha256: str
    samples: int = Field(ge=1)
    skipped: tuple[str, ...]
    results: tuple[Accuracy, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _outcomes_agree(self) -> Evaluation:
        for result in self.results:
            right = int(self.outcomes(result).sum())
            if right != result.correct or abs(result.top1 - right / self.samples) > 1e-9:
                raise ValueError(f"the outcomes of {result.path} are not those of its top-1")
        return self

    def outcomes(self, result: Accuracy) -> npt.NDArray[np.bool_]:
        """Whether ``result`` is right, as bool [samples]."""
        try:
            data = base64.b64decode(result.outcomes, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the outcomes of {result.path} are not base64") from error
        if len(data) != (self.samples + 7) // 8:
            raise ValueError(f"the outcomes of {result.path} are not {self.samples}")
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=self.samples)
        return bits.astype(np.bool_)

    def same_samples(self, other: Evaluation) -> bool:
        """Whether sample i of both is the same."""
        mine, others = ((e.data_sha256, e.samples, frozenset(e.skipped)) for e in (self, other))
        return mine == others
