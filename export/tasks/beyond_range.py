"""Samples whose values lie far outside of what calibration saw, and int8 can represent."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from edgeconv.bundle import RANGES_NAME, Bundle
from edgeconv.calibrated_ranges import CalibratedRanges
from edgeconv.errors import Notice
from edgeconv.export.data.samples import Sample

logger = logging.getLogger(__name__)

_SAMPLES = 64  # that are looked at
# A value is far outside if it is so many times the whole range away from it.
_FAR = 0.5
# A sample lies far outside where so much of its values do; one that is merely brighter does not.
_MOST_FAR = 0.1
# Where so much of the samples do, they were prepared in another way.
_MOST_SAMPLES = 0.5


@dataclass
class _Input:
    """What int8 files cover of an input, and the samples that lie far outside of it."""

    name: str
    low: float
    high: float
    far: int = 0
    least: float = float("inf")
    most: float = float("-inf")


class RangeWatch:
    """Looks at the first samples of a pass over the data.

    Args:
        bundle: A bundle; without ``calibration.json`` nothing is looked at.
    """

    def __init__(self, bundle: Bundle) -> None:
        file = bundle.path / RANGES_NAME
        ranges = CalibratedRanges.load(file).ranges if file.is_file() else ()
        by_name = {each.name: each for each in ranges}
        inputs = enumerate(bundle.manifest.inputs)
        self._inputs = {
            i: _Input(each.name, by_name[each.name].low, by_name[each.name].high)
            for i, each in inputs
            if each.name in by_name
        }
        self._looked = 0

    def look(self, sample: Sample) -> None:
        """Look at one sample."""
        if self._looked == _SAMPLES:
            return
        self._looked += 1
        for index, seen in self._inputs.items():
            values = sample[index]
            if not values.size or values.dtype.kind != "f":
                continue
            reach = _FAR * (seen.high - seen.low)
            outside = (values < seen.low - reach) | (values > seen.high + reach)
            if np.mean(outside) > _MOST_FAR:
                seen.far += 1
                seen.least = min(seen.least, float(values.min()))
                seen.most = max(seen.most, float(values.max()))

    def warn(self) -> None:
        """Name each input that samples had far outside of its range."""
        for seen in self._inputs.values():
            if not seen.far:
                continue
            most = seen.far >= _MOST_SAMPLES * self._looked
            logger.warning(
                Notice(
                    f"{seen.far} of {self._looked} samples lie far outside of what int8 files "
                    f"cover of the input {seen.name!r}, {seen.low:.3g} to {seen.high:.3g}: they "
                    f"are from {seen.least:.3g} to {seen.most:.3g}",
                    "prepare the samples as those of --calibration were"
                    if most
                    else "calibrate with samples of this kind, too, if the device will see them",
                )
            )
