"""Decide whether a candidate reaches an SQNR over all kept samples, from few where these allow it.

Where outputs saturate, few samples have nearly all of the noise, and others say that any target is
reached. So the samples that are noisiest in int8 are among the first. Noise only adds up: once it
is more than all samples together may have, the target is missed for certain.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.quantize.accuracy.judge import Judge, worst_db
from edgeconv.export.quantize.calibration.channel_statistics import Float64
from edgeconv.metrics import Sqnr
from edgeconv.student import student

# So many samples are run at first, and then as many again as were run.
_FIRST = 4
# What a further sample keeps stays within this interval of those before: 99 % on one side.
_CONFIDENCE = 0.98
# Less noise than this share of the signal is compared as if it were that much.
_LEAST = 1e-20
# Powers of ten beyond this decide alike, and must not overflow.
_MOST_DB = 300.0


class Reaching:
    """Compares candidates with targets.

    Args:
        judge: Has the samples.
        current: What candidates come from: the network in int8.

    Attributes:
        samples: The judge's, by turns the noisiest one that is left and the first that is left.
        sqnr_db: What ``current`` keeps over all samples, as :meth:`Judge.sqnr_db` takes it.
    """

    def __init__(self, judge: Judge, current: ir.Model) -> None:
        self._judge = judge
        ratios = judge.measuring(current)(judge.kept)
        self.sqnr_db = worst_db(ratios)
        signals = np.array([[ratio.signal for ratio in each] for each in ratios]).sum(axis=0)
        self._counted = signals > 0
        self._signals: Float64 = signals[self._counted]
        noise = self._noise(ratios)
        order = _noisiest_among_first(noise, self._signals)
        self.samples = [judge.kept[place] for place in order]
        self._current: Float64 = noise[order]

    def reaches(self, candidate: ir.Model, target_db: float, *, certain: bool = True) -> bool:
        """Whether a candidate reaches a target over all samples.

        Args:
            candidate: The quantized graph.
            target_db: The least SQNR of the worst output or part.
            certain: Whether the answer has to be that of :meth:`Judge.sqnr_db`. Otherwise a few
                samples may decide where the spread among them leaves little doubt about the others.
        """
        measure = self._judge.measuring(candidate)
        allowed = self._signals / 10 ** (target_db / 10)
        noise = np.zeros((0, len(self._signals)))
        while len(noise) < len(self.samples):
            more = self.samples[len(noise) : max(_FIRST, 2 * len(noise))]
            noise = np.concatenate([noise, self._noise(measure(more))])
            if (noise.sum(axis=0) > allowed).any():
                return False
            if not certain:
                low, high = self._expected(noise)
                if (low > allowed).any():
                    return False
                if (high <= allowed).all():
                    return True
        return True

    def _expected(self, noise: Float64) -> tuple[Float64, Float64]:
        """The least and the most noise of all samples to expect after the first of them.

        What is left of the current network's noise in each sample is taken to spread in the other
        samples as in these.

        Args:
            noise: That of the first samples: (samples, outputs).
        """
        count = len(noise)
        rest = self._current[count:].sum(axis=0)
        least = _LEAST * self._signals / len(self.samples)
        before = np.maximum(self._current[:count], least)
        left_db = 10 * np.log10(np.maximum(noise, least) / before)
        if count < 2:
            return noise.sum(axis=0), np.full(noise.shape[1], np.inf)
        spread = student(_CONFIDENCE, count - 1) * np.sqrt(1 + 1 / count)
        doubt = spread * left_db.std(axis=0, ddof=1)
        low, high = (
            noise.sum(axis=0) + rest * 10 ** (np.clip(db, -_MOST_DB, _MOST_DB) / 10)
            for db in (left_db.mean(axis=0) - doubt, left_db.mean(axis=0) + doubt)
        )
        return low, high

    def _noise(self, ratios: list[list[Sqnr]]) -> Float64:
        """The noise of outputs that have a signal: (samples, outputs)."""
        noise = np.array([[ratio.noise for ratio in each] for each in ratios], np.float64)
        # The largest number is more than any target allows, and comes to no NaN in sums.
        return np.nan_to_num(noise[:, self._counted], nan=np.inf, posinf=1e150).clip(max=1e150)


def _noisiest_among_first(noise: Float64, signals: Float64) -> list[int]:
    """The places of samples: by turns the noisiest that is left, and the first that is left.

    Args:
        noise: (samples, outputs).
        signals: That of each output over all samples.
    """
    worst: list[int] = np.argsort(-(noise / signals).sum(axis=1), kind="stable").tolist()
    turns = zip(worst, range(len(worst)), strict=True)
    return list(dict.fromkeys(place for turn in turns for place in turn))
