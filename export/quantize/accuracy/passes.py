"""Try the passes that improve accuracy; each is kept only if it helps on held-out samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import onnx_ir as ir

from edgeconv.export.data.samples import Batch, Batches
from edgeconv.export.quantize.accuracy.absorb import absorb
from edgeconv.export.quantize.accuracy.adaround import adaptive_weights
from edgeconv.export.quantize.accuracy.bias_correction import mean_errors, subtract
from edgeconv.export.quantize.accuracy.channel_statistics import ChannelStatistics, observe_channels
from edgeconv.export.quantize.accuracy.equalize import equalize
from edgeconv.export.quantize.accuracy.score import SqnrScorer
from edgeconv.export.quantize.accuracy.segments import Segment, find_segments
from edgeconv.export.quantize.calibrated import CalibratedModel, draft
from edgeconv.export.quantize_options import QuantizeOptions
from edgeconv.progress import Progress

# A pass has to gain this much to be kept; less may be due to chance in the samples.
_LEAST_GAIN_DB = 0.1
# Means settle sooner than ranges do, so the passes read no more batches than these.
_BATCHES = 256

# Rescales or shifts channels in place, and returns how many segments it changed.
Rescaling = Callable[[list[Segment], dict[str, ChannelStatistics]], int]


@dataclass(frozen=True)
class Improvement:
    """What a pass did.

    Attributes:
        name: The pass.
        without_db: SQNR on held-out samples without it.
        with_db: SQNR on held-out samples with it.
        kept: Whether it was kept.
    """

    name: str
    without_db: float
    with_db: float
    kept: bool


class AccuracyPasses:
    """Tries the passes on one network.

    Args:
        judge: Measures on held-out samples.
        batches: The calibration data.
        options: How to quantize, and which passes to try.
        progress: Called with (step, done, total).

    Attributes:
        record: What each pass did that had something to change.
    """

    def __init__(
        self, judge: SqnrScorer, batches: Batches, options: QuantizeOptions, progress: Progress
    ) -> None:
        self._judge = judge
        self._batches = batches
        self._options = options
        self._progress = progress
        self.record: list[Improvement] = []

    def rescale(self, model: ir.Model) -> ir.Model:
        """Absorb high biases and equalize a float graph, as far as that helps.

        The paper has the opposite order; a channel would then be scaled by its constant part.
        """
        kept = self._choose(model)
        if not kept:
            return model
        changed = model.clone()
        segments = find_segments(changed.graph)
        statistics = observe_channels(model, _names(segments), self._some("Observing channels"))
        for apply in kept:
            apply(segments, statistics)
        return changed

    def _choose(self, model: ir.Model) -> list[Rescaling]:
        """Choose the pass, or both together, that helps most on held-out samples.

        A channel that fills the range on the samples it was fitted to saturates on others.
        """
        if not (segments := find_segments(model.graph)):
            return []
        statistics = observe_channels(model, _names(segments), self._judge.seen)
        without = best = self._score(model)
        chosen: list[Rescaling] = []
        for passes in self._combinations():
            candidate, observed = model.clone(), dict(statistics)
            segments = find_segments(candidate.graph)
            changes = [apply(segments, observed) for apply in passes.values()]
            if not all(changes):
                continue
            score = self._score(candidate)
            name = " and ".join(passes)
            if self._keeps(name, without, score, _LEAST_GAIN_DB) and score > best:
                best, chosen = score, list(passes.values())
        return chosen

    def _combinations(self) -> list[dict[str, Rescaling]]:
        absorption: dict[str, Rescaling] = {"high-bias absorption": absorb}
        equalization: dict[str, Rescaling] = {"equalization": equalize}
        found = []
        if self._options.bias_absorption:
            found.append(absorption)
        if self._options.equalization:
            found.append(equalization)
        return [*found, absorption | equalization] if len(found) == 2 else found

    def round_adaptively(self, current: CalibratedModel) -> CalibratedModel:
        """Learn the rounding of weights with AdaRound, if that helps."""
        rounded = adaptive_weights(current, self._batches, self._progress)
        candidate = replace(current, weights=rounded)
        return self._better("adaptive rounding", current, candidate)

    def correct(self, current: CalibratedModel) -> CalibratedModel:
        """Correct biases, if that helps."""
        some = self._some("Correcting biases")
        errors = mean_errors(current.model, current.weights, current.inputs, some)
        if not errors:
            return current
        model = current.model.clone()
        subtract(model.graph, errors)
        candidate = current.with_model(model)
        return self._better("bias correction", current, candidate)

    def _better(
        self, name: str, current: CalibratedModel, candidate: CalibratedModel
    ) -> CalibratedModel:
        without, with_it = (self._judge.sqnr_db(d.to_qdq()[0]) for d in (current, candidate))
        return candidate if self._keeps(name, without, with_it, 0.0) else current

    def _score(self, model: ir.Model) -> float:
        fitted = draft(model, self._judge.seen, self._options)
        return self._judge.sqnr_db(fitted.to_qdq()[0])

    def _keeps(self, name: str, without: float, with_it: float, gain: float) -> bool:
        kept = with_it >= without + gain
        self.record.append(Improvement(name, without, with_it, kept))
        return kept

    def _some(self, step: str) -> Iterator[Batch]:
        total = min(len(self._batches), _BATCHES)
        self._progress(step, 0, total)
        for done, batch in enumerate(islice(self._batches, _BATCHES), start=1):
            yield batch
            self._progress(step, done, total)


def _names(segments: list[Segment]) -> list[str]:
    return [str(segment.value.name) for segment in segments]
