"""What calibration saw of each activation, and the range that int8 represents: a file of a bundle.

It is bounded in size, and the same data gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from edgeconv.errors import BundleError
from edgeconv.versioned import Record, Versioned

BINS = 64  # of four of the 256 integers each
MOST_ACTIVATIONS = 1000


class ActivationRange(Record):
    """An activation, or several that share a scale.

    Attributes:
        name: Its name in the network.
        minimum: The least value that was seen.
        maximum: The greatest value.
        low: What the lowest integer of int8 stands for.
        high: What the highest integer stands for.
        counts: About how many values round to the first four integers, to the next four, and so
            on; empty where the range came from the extremes alone.
        below: About how many lie below what rounds to the lowest integer.
        above: And above what rounds to the highest.
    """

    name: str
    minimum: float
    maximum: float
    low: float
    high: float
    counts: tuple[int, ...] = ()
    below: int = Field(default=0, ge=0)
    above: int = Field(default=0, ge=0)

    @field_validator("counts")
    @classmethod
    def _of_all_bins(cls, counts: tuple[int, ...]) -> tuple[int, ...]:
        if counts and (len(counts) != BINS or min(counts) < 0):
            raise ValueError(f"there are not {BINS} counts")
        return counts


class CalibratedRanges(Versioned):
    """The whole of ``calibration.json``: the first activations of the network, in its order."""

    WHAT = "the ranges of a calibration"
    REDO = "export again"
    ERROR = BundleError

    schema_version: int = 1
    kind: Literal["ranges"] = "ranges"
    activations: int = Field(ge=0, description="how many the network has")
    ranges: tuple[ActivationRange, ...] = Field(max_length=MOST_ACTIVATIONS)

    def write(self, path: Path) -> None:
        """Write the JSON without indents: most of it is counts."""
        path.write_text(self.model_dump_json() + "\n", "utf-8")
