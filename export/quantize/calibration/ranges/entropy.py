"""The range that loses the least information, as TensorRT calibrates 8 bits.

Szymon Migacz, "8-bit Inference with TensorRT" (GTC 2017): among thresholds T on the magnitude, it
takes the one with the least Kullback-Leibler divergence between the distribution clipped at T and
the same distribution in as many levels as the integers have on one side of zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
    candidates = np.array([kept for kept in _CANDIDATES if kept >= levels])
    divergences = _divergences(bins, candidates, levels)
    threshold = float(edges[candidates[int(np.argmin(divergences))]])
    return Range(
        max(min(values.minimum, 0.0), -threshold), min(max(values.maximum, 0.0), threshold)
    )


def _divergences(bins: Float64, candidates: npt.NDArray[np.intp], levels: int) -> Float64:
    """The Kullback-Leibler divergence in nats when the first ``kept`` bins become ``levels``.

    The values beyond are counted in the last bin that is kept. With p the kept distribution and q
    its approximation, which is constant within a level, the divergence is the sum of p log p less
    that of p log q. Both follow from cumulative sums, for all candidates at once: [candidates].
    """
    mass, entropy_sum = _cumulative(bins), _cumulative(_x_log_x(bins))
    held = _cumulative((bins > 0).astype(np.float64))
    starts = np.arange(levels + 1) * candidates[:, None] // levels
    sums, counts = np.diff(mass[starts]), np.diff(held[starts])
    inside, last = mass[candidates], bins[candidates - 1]
    total = mass[-1]
    beyond = total - inside
    # A bin that only the clipped values fill has no counterpart; a small one keeps the sum finite.
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.maximum(np.nan_to_num(sums / counts / inside[:, None]), 1e-12)
    q_last = np.where(last > 0, q[:, -1], 1e-12)
    p_log_p = entropy_sum[candidates - 1] + _x_log_x(last + beyond)
    p_log_q = (sums * np.log(q)).sum(axis=1) + beyond * np.log(q_last)
    found: Float64 = (p_log_p - p_log_q) / total - np.log(total)
    return np.where(inside > 0, found, np.inf)


def _cumulative(values: Float64) -> Float64:
    """The sums of the first 0, 1, 2, … values."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _x_log_x(x: Float64) -> Float64:
    logarithms: Float64 = np.log(x, out=np.zeros_like(x), where=x > 0)
    return x * logarithms
