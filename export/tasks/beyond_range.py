"""Samples whose values lie far outside of what calibration saw, and int8 can represent."""

from __future__ import annotations

import logging

import numpy as np

from edgeconv.bundle import RANGES_NAME, Bundle
from edgeconv.calibrated_ranges import CalibratedRanges
from edgeconv.errors import Notice
from edgeconv.export.data.samples import Sample
from edgeconv.units import format_percent

logger = logging.getLogger(__name__)

_SAMPLES = 64  # that are looked at
# A value is far outside if it is so many times the whole range away from it.
_FAR = 0.5
# Where so much of the values are, they were prepared in another way, and not merely brighter.
_MOST_FAR = 0.1


class RangeWatch:
    """Looks at the first samples of a pass over the data.

    Args:
        bundle: A bundle; without ``calibration.json`` nothing is looked at.
    """

    def __init__(self, bundle: Bundle) -> None:
        file = bundle.path / RANGES_NAME
        ranges = CalibratedRanges.load(file).ranges if file.is_file() else ()
        by_name = {each.name: (each.low, each.high) for each in ranges}
        inputs = enumerate(bundle.manifest.inputs)
        self._ranges = {
            i: (each.name, by_name[each.name]) for i, each in inputs if each.name in by_name
        }
        self._left = _SAMPLES

    def look(self, sample: Sample) -> None:
        """Look at one sample; a warning names an input that it has far outside of its range."""
        if not self._left:
            return
        self._left -= 1
        for index, (name, (low, high)) in tuple(self._ranges.items()):
            values = sample[index]
            if not values.size or values.dtype.kind != "f":
                continue
            reach = _FAR * (high - low)
            share = float(np.mean((values < low - reach) | (values > high + reach)))
            if share > _MOST_FAR:
                del self._ranges[index]  # once is enough
                logger.warning(
                    Notice(
                        f"{format_percent(share)} of the values of a sample lie far outside of "
                        f"what int8 files cover of the input {name!r}, {low:.3g} to {high:.3g}: "
                        f"they are from {values.min():.3g} to {values.max():.3g}",
                        "prepare the samples as those of --calibration were",
                    )
                )
