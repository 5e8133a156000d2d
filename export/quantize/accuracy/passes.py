"""Try range methods and the passes that improve accuracy; keep what gains on unseen samples."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from edgeconv.bundle import AccuracyStep
from edgeconv.export.data.samples import Batches
from edgeconv.export.quantize.accuracy.adaround import adaptive_weights
from edgeconv.export.quantize.accuracy.drafts import Drafts, Part, Recipe, Rescaling
from edgeconv.export.quantize.accuracy.judge import Gain, Judge, Loss
from edgeconv.export.quantize.accuracy.reconstruction import reconstruct
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.calibration.channel_statistics import Float64
from edgeconv.export.quantize.calibration.ranges import CLIPPING
from edgeconv.export.quantize.weights import QuantizedWeight
from edgeconv.export.quantize_options import MAX_EFFORT, QuantizeOptions, RangeMethod, Rounding
from edgeconv.progress import TRYING, Progress

_HALVES = (Part.FIRST_HALF, Part.SECOND_HALF)
# How many times as long adaptive rounding learns, in turn.
_LONGER = (1, 4, 16)


@dataclass(frozen=True)
class Improvement:
    """What a range method or a pass did.

    Attributes:
        name: The pass.
        without_db: SQNR without it, over samples that neither version was fitted to.
        with_db: SQNR with it.
        gain: What it gains, with the confidence in that.
        kept: Whether it was kept.
        seconds: How long trying it took.
        repairs: Whether it leaves operators in float.
        loss: What loses by it, if it was left out for that alone.
        refit_loss_db: What the typical sample loses by it once it is fitted to all, likewise.
    """

    name: str
    without_db: float
    with_db: float
    gain: Gain
    kept: bool
    seconds: float
    repairs: bool = False
    loss: Loss | None = None
    refit_loss_db: float | None = None

    def record(self) -> AccuracyStep:
        """What the manifest says of it."""
        return AccuracyStep(
            name=self.name,
            gain_db=self.gain.db,
            uncertainty_db=self.gain.uncertainty_db,
            kept=self.kept,
            losing_output=None if self.loss is None else self.loss.place,
            loss_db=None if self.loss is None else self.loss.db,
            refit_loss_db=self.refit_loss_db,
        )


@dataclass(frozen=True)
class _Try:
    """A version to be judged.

    Attributes:
        recipe: How it is made.
        part: What it is fitted to.
        name: What is tried with it; empty for the version that others are compared with.
    """

    recipe: Recipe
    part: Part
    name: str = ""


class AccuracyPasses:
    """Tries the passes on one network.

    What is tried is fitted to one half of the samples and judged on the other, both ways round, and
    compared sample by sample with the version without it. What gains beyond chance is fitted again,
    to all samples.

    Args:
        drafts: Makes the versions.
        batches: The calibration data.
        options: How to quantize, and which passes to try.
        progress: Called with (step, done, total).

    Attributes:
        record: What each pass did that had something to change.
    """

    def __init__(
        self, drafts: Drafts, batches: Batches, options: QuantizeOptions, progress: Progress
    ) -> None:
        self._drafts, self._batches = drafts, batches
        self._options, self._progress = options, progress
        first, second = drafts.survey.halves
        self.judge = Judge(drafts.model, (first.kept, second.kept))
        self._parts = _HALVES if second.kept else (Part.FIRST_HALF,)
        self._noise: dict[tuple[Recipe, Part], Float64 | None] = {}
        self._seconds: dict[Recipe, float] = {}
        self.record: list[Improvement] = []

    def choose(self) -> Recipe:
        """Choose the range method, if it is open, and the passes that help beside it."""
        options = self._options
        recipe = Recipe(options.range_method)
        if options.range_method is RangeMethod.AUTO:
            recipe = Recipe(RangeMethod.MINMAX)
            recipe = self._best(recipe, {f"{m.value} ranges": Recipe(m) for m in CLIPPING})
        recipe = self._corrected(recipe)
        rescaled = self._best(
            recipe,
            {
                _named(rescalings): replace(recipe, rescalings=rescalings)
                for rescalings in _combinations(options)
            },
        )
        return rescaled if rescaled is recipe or recipe.corrected else self._corrected(rescaled)

    def _corrected(self, recipe: Recipe) -> Recipe:
        """The same with bias correction, if that helps.

        It comes before the passes on channels, which are then judged with it: what they even out
        is the rounding of activations, where that of weights moves the means much further.
        """
        if not self._options.bias_correction:
            return recipe
        after = f" with {_named(recipe.rescalings)}" if recipe.rescalings else ""
        return self._best(recipe, {f"bias correction{after}": replace(recipe, corrected=True)})

    def learn(self, recipe: Recipe) -> tuple[CalibratedModel, CalibratedModel]:
        """Reconstruct layers and learn the rounding of weights, as far as asked and as it helps.

        Returns:
            The network, and the same without what other biases correct.
        """
        plain, current = self._fitted(_plain(recipe)), self._fitted(recipe)
        uncorrected = current.with_model(plain.model) if recipe.corrected else current
        reconstructed = self._reconstructed(recipe) if self._options.reconstruction else None
        if reconstructed is not None:
            seen = self._drafts.kept(Part.WHOLE)
            current = reconstruct(plain, seen, self._progress, "Reconstructing layers")
            uncorrected = plain
        if self._options.rounding is Rounding.ADAPTIVE:
            weights = self._adaptive_weights(recipe, reconstructed)
            if weights is not None:
                current = replace(self._fitted(recipe), weights=weights)
                uncorrected = current.with_model(plain.model) if recipe.corrected else current
        return current, uncorrected

    def _reconstructed(self, recipe: Recipe) -> Float64 | None:
        """Try to reconstruct layers in the place of bias correction.

        Returns:
            The noise of what was fitted to the first half; None if it gains nothing.
        """
        name = "layer reconstruction"
        start = time.perf_counter()
        before, after = list[Float64](), list[Float64]()
        for part in self._parts:
            half, seen = self._fitted(_plain(recipe), part), self._drafts.kept(part)
            fitted = reconstruct(half, seen, self._progress, f"{TRYING}{name}")
            before.append(self._noise_of(self._fitted(recipe, part), part))
            after.append(self._noise_of(fitted, part))
            without, with_it = np.concatenate(before), np.concatenate(after)
            gain = Gain.between(without, with_it)
            if gain.hopeless:
                break
        self._note(name, without, with_it, gain, gain.beyond_chance, time.perf_counter() - start)
        return after[0] if gain.beyond_chance else None

    def _adaptive_weights(
        self, recipe: Recipe, reconstructed: Float64 | None
    ) -> dict[str, QuantizedWeight] | None:
        """Learn the rounding of weights with AdaRound, as long as that helps.

        At the highest effort it learns longer and longer, until that gains no more.

        Args:
            recipe: The version whose weights are rounded.
            reconstructed: The noise of the one with reconstructed layers, if that is better.

        Returns:
            The weights, by the layer's name; None if that gains nothing.
        """
        half = self._fitted(recipe, Part.FIRST_HALF)
        seen = self._drafts.kept(Part.FIRST_HALF)
        before = self._noise_of(half, Part.FIRST_HALF) if reconstructed is None else reconstructed
        gained = 0
        for longer in _LONGER if self._options.effort >= MAX_EFFORT else _LONGER[:1]:
            start = time.perf_counter()
            name = "adaptive rounding" + (f", {longer} times as long" if longer > 1 else "")
            weights = adaptive_weights(half, seen, self._progress, longer, f"{TRYING}{name}")
            after = self._noise_of(replace(half, weights=weights), Part.FIRST_HALF)
            gain = Gain.between(before, after)
            seconds = time.perf_counter() - start
            self._note(name, before, after, gain, gain.beyond_chance, seconds)
            if not gain.beyond_chance:
                break
            before, gained = after, longer
        if not gained:
            return None
        return adaptive_weights(self._fitted(recipe), self._batches, self._progress, gained)

    def _fitted(self, recipe: Recipe, part: Part = Part.WHOLE) -> CalibratedModel:
        """A version of a recipe that was chosen, or of less."""
        fitted = self._drafts.fit(recipe, part)
        assert fitted is not None
        return fitted

    def _noise_of(self, fitted: CalibratedModel, part: Part) -> Float64:
        """The noise of what was fitted to a half, in samples of the other."""
        return self.judge.noise(fitted.to_qdq()[0], self.judge.unseen_by(part.value))

    def _best(self, recipe: Recipe, others: dict[str, Recipe]) -> Recipe:
        """The recipe that gains most beyond chance; ``recipe`` itself if none does.

        What is hopeless on one half is not tried on the other, unless it is alone.
        """
        first, *rest = self._parts
        tries = [_Try(recipe, first), *(_Try(recipe, part) for part in rest)] if others else []
        tries += [_Try(other, first, name) for name, other in others.items()]
        if len(others) == 1:
            tries += [_Try(other, part, name) for name, other in others.items() for part in rest]
        self._judge_all(tries)
        for part in rest:
            left = {name: other for name, other in others.items() if self._hopes(recipe, other)}
            self._judge_all([_Try(other, part, name) for name, other in left.items()])
        found: dict[str, tuple[Float64, Float64, Gain]] = {}
        for name, other in others.items():
            if (after := self._judged(other)) is not None:
                before = self._judged(recipe)
                assert before is not None
                before = before[: len(after)]
                found[name] = before, after, Gain.between(before, after)
        gaining = {name: gain.db for name, (_, _, gain) in found.items() if gain.beyond_chance}
        best_first = sorted(gaining, key=lambda name: -gaining[name])
        best, losses, refit_losses = None, dict[str, Loss | None](), dict[str, float]()
        for name in best_first:
            refit = self._on_all(recipe, others[name])
            if refit is None:
                best = name
                break
            if any(each.loses for each in refit.outputs):
                losses[name] = self.judge.loss(refit)
            else:
                refit_losses[name] = -refit.db
        for name, (before, after, gain) in found.items():
            seconds, loss = self._seconds[others[name]], losses.get(name)
            refit_loss = refit_losses.get(name)
            self._note(name, before, after, gain, name == best, seconds, loss, refit_loss)
        return recipe if best is None else others[best]

    def _on_all(self, recipe: Recipe, other: Recipe) -> Gain | None:
        """What another range method gains, fitted to all samples, if it loses in the typical one.

        A range may differ much from those of both halves: the least divergence, for one, has
        several thresholds that are nearly as good as each other.

        Returns:
            None if neither the typical sample nor an output or part loses by it.
        """
        if other.method is recipe.method:
            return None
        plain, fitted = (
            self.judge.noise(self._fitted(each).to_qdq()[0], self.judge.kept)
            for each in (recipe, other)
        )
        gain = Gain.between(plain, fitted)
        loses = gain.db < 0 or any(each.loses for each in gain.outputs)
        return gain if loses else None

    def _judge_all(self, tries: Iterable[_Try]) -> None:
        """Measure the noise of versions in the samples that they were not fitted to.

        A second thread runs one version while the next is made.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="judge") as thread:
            pending: Future[None] | None = None
            for each in tries:
                key = each.recipe, each.part
                if key in self._noise:
                    continue
                if each.name:
                    self._progress(f"{TRYING}{each.name}", 0, 1)
                start = time.perf_counter()
                fitted = self._drafts.fit(each.recipe, each.part)
                if fitted is None:
                    self._noise[key] = None
                    continue
                qdq = fitted.to_qdq()[0]
                self._took(each.recipe, start)
                if pending is not None:
                    pending.result()
                pending = thread.submit(self._judge_one, each, qdq)
            if pending is not None:
                pending.result()

    def _judge_one(self, each: _Try, qdq: ir.Model) -> None:
        start = time.perf_counter()
        samples = self.judge.unseen_by(each.part.value)
        self._noise[each.recipe, each.part] = self.judge.noise(qdq, samples)
        self._took(each.recipe, start)

    def _took(self, recipe: Recipe, start: float) -> None:
        self._seconds[recipe] = self._seconds.get(recipe, 0.0) + time.perf_counter() - start

    def _judged(self, recipe: Recipe) -> Float64 | None:
        """The noise of a version in every sample so far; None without such a version."""
        found = []
        for part in self._parts:
            if (recipe, part) not in self._noise:
                continue
            noise = self._noise[recipe, part]
            if noise is None:
                return None
            found.append(noise)
        return np.concatenate(found)

    def _hopes(self, recipe: Recipe, other: Recipe) -> bool:
        """Whether a version may still gain over another one."""
        before, after = self._judged(recipe), self._judged(other)
        if before is None or after is None:
            return False
        return not Gain.between(before[: len(after)], after).hopeless

    def _note(
        self,
        name: str,
        before: Float64,
        after: Float64,
        gain: Gain,
        kept: bool,
        seconds: float,
        loss: Loss | None = None,
        refit_loss: float | None = None,
    ) -> None:
        without, with_it = (
            float(-10 * np.log10(noise.sum(axis=1).mean())) for noise in (before, after)
        )
        if not kept and gain.typical:
            loss = loss or self.judge.loss(gain)
        step = Improvement(
            name, without, with_it, gain, kept, seconds, loss=loss, refit_loss_db=refit_loss
        )
        self.record.append(step)


def _plain(recipe: Recipe) -> Recipe:
    """The same without bias correction."""
    return replace(recipe, corrected=False)


def _named(rescalings: Iterable[Rescaling]) -> str:
    return " and ".join(each.value for each in rescalings)


def _combinations(options: QuantizeOptions) -> Iterable[tuple[Rescaling, ...]]:
    """The passes on channels alone and together.

    The paper has the opposite order; a channel would then be scaled by its constant part.
    """
    absorption, equalization = (Rescaling.ABSORPTION,), (Rescaling.EQUALIZATION,)
    if options.bias_absorption:
        yield absorption
    if options.equalization:
        yield equalization
        yield (*equalization, Rescaling.RESIDUAL_SUMS)
    if options.bias_absorption and options.equalization:
        yield absorption + equalization
