"""The range that loses the least information, as TensorRT calibrates 8 bits.

Szymon Migacz, "8-bit Inference with TensorRT" (GTC 2017): among thresholds T on the magnitude, it
takes the one with the least Kullback-Leibler divergence between the distribution clipped at T and
the same distribution in as many levels as the integers have on one side of zero.
"""

from __future__ import annotations

import numpy as np

from edgeconv.export.quantize.calibration.ranges.distribution import Distribution, Float64
from edgeconv.export.quantize.parameters import Range

_BINS = 2048
_CANDIDATES = range(128, _BINS + 1, 16)


def entropy(values: Distribution) -> Range:
    """Choose the range with the least divergence."""
    # Zero is exact in every range. As in pytorch-quantization, its spike after a ReLU is left out:
    # it would outweigh everything else.
    values = values.without_zero()
    if not len(values.mass):
        return Range(values.minimum, values.maximum)
    edges = np.linspace(0, max(values.maximum, -values.minimum), _BINS + 1)
    # A value at the very end belongs to the last bin on either side.
    mirrored = np.nextafter(-edges, -np.inf)
    bins = np.diff(values.moments(edges)[0]) - np.diff(values.moments(mirrored)[0])
    levels = 256 if values.minimum >= 0 or values.maximum <= 0 else 128
    candidates = [kept for kept in _CANDIDATES if kept >= levels]
    divergences = [_divergence(bins, kept, levels) for kept in candidates]
    threshold = float(edges[candidates[int(np.argmin(divergences))]])
    return Range(
        max(min(values.minimum, 0.0), -threshold), min(max(values.maximum, 0.0), threshold)
    )


def _divergence(bins: Float64, kept: int, levels: int) -> float:
    """The Kullback-Leibler divergence in nats when ``kept`` bins become ``levels``.

    The values beyond are counted in the last bin that is kept.
    """
    inside = bins[:kept]
    if not inside.any():
        return np.inf
    reference = inside.copy()
    reference[-1] += bins[kept:].sum()
    starts = np.arange(levels) * kept // levels
    held = (inside > 0).astype(np.float64)
    sums = np.add.reduceat(inside, starts)
    counts = np.maximum(np.add.reduceat(held, starts), 1)
    widths = np.diff(np.append(starts, kept))
    approximation = np.repeat(sums / counts, widths) * held
    p, q = reference / reference.sum(), approximation / approximation.sum()
    # A bin that only the clipped values fill has no counterpart; a small one keeps the sum finite.
    q = np.maximum(q, 1e-12)
    there = p > 0
    return float(np.sum(p[there] * np.log(p[there] / q[there])))
