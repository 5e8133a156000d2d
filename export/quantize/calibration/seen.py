"""What calibration saw of an activation, in the steps of its scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.calibrated_ranges import BINS, ActivationRange
from edgeconv.export.quantize.calibration.ranges.histogram import Histogram, merge
from edgeconv.export.quantize.parameters import Range


def activation_range(
    name: str, histograms: Sequence[Histogram], represented: Range
) -> ActivationRange:
    """Sum up what was seen of activations that share a scale.

    Args:
        name: What they are called.
        histograms: What was seen of each.
        represented: What the 256 integers stand for.
    """
    extremes = ActivationRange(
        name=name,
        minimum=min(each.minimum for each in histograms),
        maximum=max(each.maximum for each in histograms),
        low=represented.low,
        high=represented.high,
    )
    if not all(each.counts.any() for each in histograms):
        return extremes
    found = merge(histograms)
    # How many values lie below each place: it rises within the pieces, and at single values.
    places = np.stack([found.low, found.high], 1).ravel()
    reached = np.cumsum(found.mass)
    below = np.stack([reached - found.mass, reached], 1).ravel()
    half = (represented.high - represented.low) / 255 / 2  # a step stands for what rounds to it
    bins = np.linspace(represented.low - half, represented.high + half, BINS + 1)
    edges = np.interp(bins, places, below)
    edges = np.rint(edges).astype(np.int64)
    return extremes.model_copy(
        update={
            "counts": tuple(np.diff(edges).tolist()),
            "below": int(edges[0]),
            "above": int(np.rint(reached[-1])) - int(edges[-1]),
        }
    )
