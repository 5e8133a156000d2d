"""Judge ways to quantize on samples that they were not fitted to, paired over these samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import onnx_ir as ir

from edgeconv.export.data.samples import Batch
from edgeconv.export.graph_edit import Array
from edgeconv.export.joined import joined_outputs
from edgeconv.export.quantize.accuracy.probabilities import logits_of
from edgeconv.export.quantize.calibration.channel_statistics import Float64
from edgeconv.export.quantize.calibration.survey import Arrays, Kept
from edgeconv.export.quantize.float_layers import with_float_layers
from edgeconv.export.runtimes import IntermediateOutputs
from edgeconv.metrics import EQUAL_DB, Sqnr, together
from edgeconv.student import student
from edgeconv.verification import words_of_place

# A gain is kept if it exceeds zero at 90 %, one-sided: both sides of an 80 % interval. What gains
# nothing loses nothing on average either. Over 35 networks that no page reports, effort 1 gained
# 0.93 dB over min-max, and 0.70 at 99 %; the least gain was -0.8 dB, and -0.5 at 99 %.
_CONFIDENCE = 0.8
# What the first half of the samples rules out is not tried on the second: that has to be sure.
_RULED_OUT_AT = 0.98
# Whatever a gain's significance, less than this is not worth a change.
LEAST_GAIN_DB = 0.2
# What all samples together may lose where the typical one gains, over all outputs and in each.
_LARGEST_LOSS_DB = 0.1
# A single sample says nothing about others. Half of the noise has to go before it is believed.
_LEAST_GAIN_OF_ONE_DB = 3.0
# Noise is never less than this share of the signal, 100 dB, nor more than its inverse. Below it is
# how float32 rounds (130 dB and more), and 16 bits have 98 dB at the most: an output that stays in
# float gains and loses nothing.
_LEAST_NOISE = 1e-10


@dataclass(frozen=True)
class Gain:
    """What a change gains, over samples that neither version was fitted to.

    Attributes:
        db: The mean gain of a sample in dB.
        uncertainty_db: Half the width of the confidence interval of that mean.
        pooled_db: The gain in the SQNR of all samples together.
        most_db: What the mean gain hardly exceeds with more samples.
        outputs: The gain of each output, or part of a joined one, where there are several.
    """

    db: float
    uncertainty_db: float
    pooled_db: float
    most_db: float
    outputs: tuple[Gain, ...] = ()

    @classmethod
    def between(cls, before: Float64, after: Float64) -> Gain:
        """Compare the relative noise before and after the change.

        Args:
            before: (samples, outputs), as :meth:`Judge.noise` returns it, or (samples,) of a single
                output.
            after: In the same samples.
        """
        before, after = (noise.reshape(len(noise), -1) for noise in (before, after))
        outputs = [cls._of_one(*pair) for pair in zip(before.T, after.T, strict=True)]
        if len(outputs) == 1:
            return outputs[0]
        together = cls._of_one(before.sum(axis=1), after.sum(axis=1))
        return replace(together, outputs=tuple(outputs))

    @classmethod
    def _of_one(cls, before: Float64, after: Float64) -> Gain:
        gains = 10 * np.log10(before / after)
        mean, count = float(gains.mean()), len(gains)
        pooled = float(10 * np.log10(before.sum() / after.sum()))
        if count == 1:
            uncertainty = _LEAST_GAIN_OF_ONE_DB - LEAST_GAIN_DB
            return cls(mean, uncertainty, pooled, mean + uncertainty)
        error = float(gains.std(ddof=1)) / math.sqrt(count)
        most = mean + student(_RULED_OUT_AT, count - 1) * error
        return cls(mean, student(_CONFIDENCE, count - 1) * error, pooled, most)

    @property
    def typical(self) -> bool:
        """Whether the typical sample gains beyond chance, and enough to count."""
        return self.db > self.uncertainty_db and self.db >= LEAST_GAIN_DB

    @property
    def beyond_chance(self) -> bool:
        """Whether the gain exceeds chance, and large enough to count.

        The typical sample has to gain. All of them together, which a few with large values may
        decide, must not lose, and neither must any output: who reads one gains nothing by another.
        """
        return self.typical and not self.loses

    @property
    def loses(self) -> bool:
        """Whether all samples together, or those of one output among several, lose."""
        return any(each.pooled_db < -_LARGEST_LOSS_DB for each in (self, *self.outputs))

    @property
    def hopeless(self) -> bool:
        """Whether more samples would hardly make it a gain that counts."""
        return self.most_db < LEAST_GAIN_DB


@dataclass(frozen=True)
class Loss:
    """What keeps a gain of the typical sample from counting.

    Attributes:
        place: The output, or the part of one, in words; None for all of them together.
        db: What all samples together lose.
    """

    place: str | None
    db: float


class Judge:
    """Measures quantized graphs on the samples that calibration kept.

    Args:
        model: The float graph.
        halves: The samples of each half of the data; the second is empty after a single batch.
    """

    def __init__(self, model: ir.Model, halves: tuple[Sequence[Kept], Sequence[Kept]]) -> None:
        self._names = [str(value.name) for value in model.graph.outputs]
        self._halves = halves
        self._joined = joined_outputs(model.graph, model.graph.opset_imports[""])
        self._logits = [logits_of(value) for value in model.graph.outputs]
        own = (self._before_saturation(kept.outputs) for kept in self.kept)
        sums = together(self._compared(each, each) for each in own)
        self._signals = [ratio.signal / max(len(self.kept), 1) for ratio in sums]

    @classmethod
    def on(cls, model: ir.Model, batches: Sequence[Batch]) -> Judge:
        """Judge on ``batches``, which the float graph runs first."""
        network = IntermediateOutputs(model, [str(value.name) for value in model.graph.outputs])
        outputs = network.run_each(batches)
        kept = [Kept(*pair) for pair in zip(batches, outputs, strict=True)]
        return cls(model, (kept[::2], kept[1::2]))

    @property
    def kept(self) -> list[Kept]:
        """All samples."""
        return [*self._halves[0], *self._halves[1]]

    def unseen_by(self, half: int) -> Sequence[Kept]:
        """The samples to judge on what was fitted to one half; that half itself, if it is alone."""
        return self._halves[1 - half] or self._halves[half]

    def noise(self, candidate: ir.Model, samples: Sequence[Kept]) -> Float64:
        """Measure the noise of each sample and output, relative to the output's mean signal.

        Outputs that are zero in all samples do not count. A joined output counts by its parts, and
        probabilities by what they were computed from: where they are close to 0 and 1, their noise
        is next to none in one sample and large in another, and says little about the network.

        Returns:
            (samples, outputs), each between the least and the most that counts.
        """
        got = self._runner(candidate).run_each(kept.inputs for kept in samples)
        rows = []
        for kept, each in zip(samples, got, strict=True):
            outputs = (self._before_saturation(arrays) for arrays in (kept.outputs, each))
            ratios = zip(self._compared(*outputs), self._signals, strict=True)
            rows.append([ratio.noise / signal for ratio, signal in ratios if signal] or [0.0])
        noise: Float64 = np.maximum(np.array(rows), _LEAST_NOISE)
        return np.where(np.isfinite(noise), noise, 1 / _LEAST_NOISE)

    def loss(self, gain: Gain) -> Loss | None:
        """What loses most of the outputs and parts, where something loses too much."""
        if not gain.loses:
            return None
        pairs = zip(self._places(), gain.outputs, strict=True) if gain.outputs else ()
        losses = [Loss(place, -each.pooled_db) for place, each in pairs if each.loses]
        return max(losses, key=lambda each: each.db, default=Loss(None, -gain.pooled_db))

    def _places(self) -> list[str]:
        """The words for each column of :meth:`noise`."""
        places = []
        for name, parts in zip(self._names, self._joined, strict=True):
            found: tuple[str | None, ...] = (None,) if parts is None else parts.names
            places += [words_of_place(name, part) for part in found]
        return [place for place, signal in zip(places, self._signals, strict=True) if signal]

    def sqnr_db(self, candidate: ir.Model) -> float:
        """Measure the SQNR over all samples, in dB, by the worst output or part of a joined one."""
        return worst_db(self.measuring(candidate)(self.kept))

    def measuring(self, candidate: ir.Model) -> Callable[[Sequence[Kept]], list[list[Sqnr]]]:
        """What measures a candidate on samples: the ratio of each output or part, in each."""
        return partial(self._ratios_of, self._runner(candidate))

    def _runner(self, candidate: ir.Model) -> IntermediateOutputs:
        return IntermediateOutputs(with_float_layers(candidate), self._names)

    def _before_saturation(self, outputs: Arrays) -> Arrays:
        pairs = zip(self._logits, outputs, strict=True)
        return [array if logits is None else logits(array) for logits, array in pairs]

    def _ratios_of(
        self, integers: IntermediateOutputs, samples: Sequence[Kept]
    ) -> list[list[Sqnr]]:
        got = integers.run_each(kept.inputs for kept in samples)
        return [self._compared(kept.outputs, each) for kept, each in zip(samples, got, strict=True)]

    def _compared(self, expected: Arrays, got: Arrays) -> list[Sqnr]:
        ratios = []
        for wanted, computed, parts in zip(expected, got, self._joined, strict=True):
            a, b = _without_shared_infinities(wanted, computed)
            if parts is None:
                ratios.append(Sqnr.of_output(a, b))
            else:
                halves = zip(parts.of(a), parts.of(b), strict=True)
                ratios += [Sqnr.between(part, other) for (_, part), (_, other) in halves]
        return ratios


def _without_shared_infinities(expected: Array, got: Array) -> tuple[Array, Array]:
    """Both with zeros where neither is finite: a masked element is equal, and has no signal."""
    if expected.dtype.kind != "f" or expected.shape != got.shape:
        return expected, got
    shared = (expected == got) | (np.isnan(expected) & np.isnan(got))
    shared &= ~np.isfinite(expected)
    if not shared.any():
        return expected, got
    return np.where(shared, 0, expected), np.where(shared, 0, got)


def worst_db(ratios: Sequence[Sequence[Sqnr]]) -> float:
    """The SQNR of the worst output that has a signal, over samples."""
    return min((ratio.db for ratio in together(ratios) if ratio.signal), default=EQUAL_DB)
