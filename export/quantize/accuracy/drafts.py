"""Make the versions of an int8 network that accuracy passes compare, from one pass over the data.

A version is fitted to all samples, or to one half of them to be judged on the other half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice

import numpy as np
import onnx_ir as ir

from edgeconv.export.data.samples import Batch, Batches
from edgeconv.export.quantize.accuracy.absorb import absorb
from edgeconv.export.quantize.accuracy.bias_correction import (
    sample_errors,
    settled_mean,
    subtract,
)
from edgeconv.export.quantize.accuracy.equalize import equalize, equalize_sums
from edgeconv.export.quantize.accuracy.first_pass import FirstPass, Surveyed
from edgeconv.export.quantize.accuracy.segments import Segment, find_segments
from edgeconv.export.quantize.calibrated import CalibratedModel, draft_from
from edgeconv.export.quantize.calibration.calibrate import calibration_of
from edgeconv.export.quantize.calibration.channel_statistics import ChannelStatistics
from edgeconv.export.quantize.calibration.clip_inputs import ClippedBatches, input_limits
from edgeconv.export.quantize.calibration.observer import Observed
from edgeconv.export.quantize.calibration.ranges.histogram import Histogram
from edgeconv.export.quantize.calibration.survey import Survey, batches_of, survey
from edgeconv.export.quantize.needs import Watch
from edgeconv.export.quantize_options import QuantizeOptions, RangeMethod
from edgeconv.progress import Progress

# So many batches are counted again where channels have changed. A quarter of a million values of
# each activation are counted on them.
_RECOUNTED = 32

# Rescales or shifts channels in place, and returns how many segments it changed.
Rescale = Callable[[list[Segment], dict[str, ChannelStatistics]], int]


class Rescaling(Enum):
    """A pass that changes channels of the float graph and keeps its function."""

    ABSORPTION = "high-bias absorption"
    EQUALIZATION = "equalization"
    RESIDUAL_SUMS = "that of residual sums"


_RESCALE: dict[Rescaling, Rescale] = {
    Rescaling.ABSORPTION: absorb,
    Rescaling.EQUALIZATION: equalize,
    Rescaling.RESIDUAL_SUMS: equalize_sums,
}


@dataclass(frozen=True)
class Recipe:
    """How a version is made.

    Attributes:
        method: The range method.
        rescalings: The passes on channels, in order.
        corrected: Whether biases are corrected.
    """

    method: RangeMethod
    rescalings: tuple[Rescaling, ...] = ()
    corrected: bool = False


class Part(Enum):
    """The samples that a version is fitted to."""

    FIRST_HALF = 0
    SECOND_HALF = 1
    WHOLE = 2


class Drafts:
    """Makes versions of one network.

    Args:
        model: The float graph.
        batches: The data, which is read once, and again only where inputs are clipped.
        options: How to quantize, apart from what a recipe says.
        progress: Called with (step, done, total).
        judging: Whether versions will be fitted to halves and judged.
        surveyed: What a pass over the same data found before, part by part.

    Raises:
        DataError: An activation is NaN or infinite.
    """

    def __init__(
        self,
        model: ir.Model,
        batches: Batches,
        options: QuantizeOptions,
        progress: Progress,
        *,
        judging: bool,
        surveyed: Surveyed | None = None,
    ) -> None:
        self.model, self._options = model, options
        self._batches, self._progress = batches, progress
        self._judging, self._surveyed = judging, surveyed
        self.survey = self._first_survey()
        if far := self._watch.out_of_reach(
            self._watch.ranges(self.survey.whole, RangeMethod.MINMAX)
        ):
            self._options = replace(options, keep_float=options.keep_float | far)
            self.survey = self._first_survey()
        self._clipped: dict[RangeMethod, Survey] = {}
        self._fitted: dict[tuple[Recipe, Part], CalibratedModel | None] = {}

    def _first_survey(self) -> Survey:
        """Observe everything once, by the options as they are."""
        first = FirstPass.of(self.model, self._options, judging=self._judging)
        self._watch, self._groups = first.watch, first.watch.groups
        self._by_channel, self._names = first.by_channel, first.names
        if self._surveyed is not None and self._surveyed.of == first.digest():
            for _ in self._batches:
                pass  # as in a pass, they keep what verification needs
            return self._surveyed.survey
        return first.survey(self._batches, self._progress)

    def fit(self, recipe: Recipe, part: Part) -> CalibratedModel | None:
        """Make a version; None if one of the recipe's passes has nothing to change."""
        key = recipe, part
        if key not in self._fitted:
            self._fitted[key] = self._fit(recipe, part)
        return self._fitted[key]

    def _fit(self, recipe: Recipe, part: Part) -> CalibratedModel | None:
        if recipe.corrected:
            return self._corrected(self.fit(replace(recipe, corrected=False), part), part)
        options = replace(self._options, range_method=recipe.method)
        found = self._survey(recipe.method)
        model, observed = self.model, _part(found, part)
        watch = None if recipe.rescalings else self._watch
        if recipe.rescalings:
            model = model.clone()
            before = observed.channels
            channels = dict(before)
            # What stays in float in between gains nothing, and its channels were not observed.
            segments = [
                segment
                for segment in find_segments(model.graph)
                if all(str(value.name) in channels for value in segment.values)
            ]
            counts = {each: _RESCALE[each](segments, channels) for each in recipe.rescalings}
            if not counts[recipe.rescalings[-1]] or not counts.get(Rescaling.ABSORPTION, 1):
                return None
            changed = {name: each for name, each in channels.items() if each is not before[name]}
            observed = self._rescaled(model, observed, changed, recipe.method, part)
        if part is not Part.WHOLE:
            return draft_from(model, options, observed, watch=watch)
        seen = calibration_of(self._watch.outputs, self._groups, found, recipe.method)
        fitted = draft_from(model, options, observed, seen.unsettled(), watch)
        histograms = {
            key: [observed.histograms[name] for name in members]
            for key, members in self._groups.items()
        }
        return replace(fitted, seen=histograms)

    def _survey(self, method: RangeMethod) -> Survey:
        """What was seen, with inputs clipped where the method cuts much of them off."""
        limits = input_limits(self.model, self._groups, self.survey.whole, method)
        if method is RangeMethod.MINMAX or not any(limits):
            return self.survey
        if method not in self._clipped:
            self._clipped[method] = survey(
                self._watch.model,
                self._names,
                ClippedBatches(self._batches, limits),
                counting=True,
                by_channel=self._by_channel,
                progress=self._progress,
            )
        return self._clipped[method]

    def _rescaled(
        self,
        model: ir.Model,
        observed: Observed,
        channels: dict[str, ChannelStatistics],
        method: RangeMethod,
        part: Part,
    ) -> Observed:
        """What would be seen of the graph with other channels.

        Extremes follow from those of the channels. Counts do not, and are taken again, on some of
        the samples. What is seen of other activations stays, because the passes keep the function
        of the network.

        Args:
            model: The graph.
            observed: What was seen before.
            channels: The figures of the channels that changed, by the activation's name.
            method: The range method.
            part: The samples.
        """
        if method is RangeMethod.MINMAX:
            extremes = {
                name: Histogram(
                    float(each.low.min()), float(each.high.max()), 1, np.zeros(0, np.int64)
                )
                for name, each in channels.items()
            }
            return Observed(observed.histograms | extremes, observed.sums)
        limits = input_limits(self.model, self._groups, self.survey.whole, method)
        data = _some(self._batches) if part is Part.WHOLE else self.kept(part)
        watched = Watch(model, self._options).model
        again = survey(watched, list(channels), ClippedBatches(data, limits), counting=True).whole
        counted = {
            name: replace(
                each,
                minimum=min(each.minimum, float(channels[name].low.min())),
                maximum=max(each.maximum, float(channels[name].high.max())),
            )
            for name, each in again.histograms.items()
        }
        return Observed(observed.histograms | counted, observed.sums)

    def _corrected(self, current: CalibratedModel | None, part: Part) -> CalibratedModel | None:
        if current is None:
            return None
        errors = sample_errors(current.model, current.weights, current.inputs, self.kept(part))
        if not errors:
            return None
        model = current.model.clone()
        subtract(model.graph, {name: settled_mean(each) for name, each in errors.items()})
        return current.with_model(model)

    def kept(self, part: Part) -> Sequence[Batch]:
        """The samples of a part that stay in memory, to judge on and to learn from."""
        halves = self.survey.halves if part is Part.WHOLE else (self.survey.halves[part.value],)
        return [batch for half in halves for batch in batches_of(half.kept)]


def _some(batches: Batches) -> list[Batch]:
    """Batches from all over the data, which may be sorted."""
    apart = -(-len(batches) // _RECOUNTED)
    return list(islice(batches, 0, None, apart))


def _part(found: Survey, part: Part) -> Observed:
    return found.whole if part is Part.WHOLE else found.halves[part.value].observed
