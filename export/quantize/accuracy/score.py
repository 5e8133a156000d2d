"""How close an integer graph comes to the float graph on calibration samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.export.data.samples import Batch
from edgeconv.export.runtimes import IntermediateOutputs

# Stands for no noise at all, or nothing but noise.
_LIMIT_DB = 200.0


class SqnrScorer:
    """Holds the float graph, and two sets of batches: candidates are fitted to the ``seen`` ones
    and compared on the others. A single batch is both.
    """

    def __init__(self, model: ir.Model, batches: Sequence[Batch]) -> None:
        self.seen = batches[::2]
        self._unseen = batches[1::2] or batches
        self._outputs = _float_outputs(model)
        self._reference = IntermediateOutputs(model, self._outputs)

    def balanced_db(self, candidate: ir.Model) -> float:
        """The mean of two ratios in dB over all batches, of the worst output: that of all batches
        together, which a few with great numbers decide, and the mean of each batch's own.
        """
        other = IntermediateOutputs(candidate, self._outputs)
        powers = []
        for batch in {id(batch): batch for batch in (*self.seen, *self._unseen)}.values():
            pairs = zip(self._reference.run(batch), other.run(batch), strict=True)
            powers.append(
                [
                    (
                        np.sum(np.square(expected, dtype=np.float64)),
                        np.sum(np.square(expected.astype(np.float64) - got)),
                    )
                    for expected, got in pairs
                ]
            )
        each = [[_decibels(*pair) for pair in outputs] for outputs in powers]
        together = [_decibels(*pair) for pair in np.sum(powers, axis=0)]
        balanced = (np.mean(each, axis=0) + together) / 2
        return float(min(balanced, default=_LIMIT_DB))

    def sqnr_db(self, candidate: ir.Model) -> float:
        """Signal-to-quantization-noise ratio on the unseen batches, of the worst output.

        One batch of outputs is in memory at a time.
        """
        other = IntermediateOutputs(candidate, self._outputs)
        signal = np.zeros(len(self._outputs))
        noise = np.zeros(len(self._outputs))
        for batch in self._unseen:
            pairs = zip(self._reference.run(batch), other.run(batch), strict=True)
            for index, (expected, got) in enumerate(pairs):
                signal[index] += np.sum(np.square(expected, dtype=np.float64))
                noise[index] += np.sum(np.square(expected.astype(np.float64) - got))
        return min((_decibels(s, n) for s, n in zip(signal, noise, strict=True)), default=_LIMIT_DB)


def _float_outputs(model: ir.Model) -> list[str]:
    return [str(value.name) for value in model.graph.outputs if value.dtype == ir.DataType.FLOAT]


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return _LIMIT_DB
    if signal == 0 or not np.isfinite(noise):
        return -_LIMIT_DB
    return float(np.clip(10 * np.log10(signal / noise), -_LIMIT_DB, _LIMIT_DB))


def held_out_batches(batches: Iterable[Batch], samples: int, size: int) -> list[Batch]:
    """As many batches as hold at most ``samples`` samples and ``size`` bytes; at least one.

    Those whose bytes hash lowest: a choice that the order of the batches does not change.
    """
    held: dict[bytes, Batch] = {}
    for batch in batches:
        digest = hashlib.sha256(b"".join(array.tobytes() for array in batch)).digest()
        held[digest] = batch
        each = batch[0].shape[0] if batch and batch[0].ndim else 1
        bytes_each = max(1, sum(array.nbytes for array in batch))
        if len(held) > max(1, min(samples // each, size // bytes_each)):
            del held[max(held)]
    return [held[digest] for digest in sorted(held)]
