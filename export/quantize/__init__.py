"""Full-integer quantization: turn a float ONNX graph into a QDQ graph, once for all formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.calibrated_ranges import ActivationRange
from edgeconv.errors import UsageError
from edgeconv.export.data.samples import Batch, Batches
from edgeconv.export.image_input import Entrance, Normalization
from edgeconv.export.inspect.macs import node_macs
from edgeconv.export.layer_rules import LayerRule
from edgeconv.export.passes.batch_norm import BatchNormToDepthwise
from edgeconv.export.passes.row_products import RowProductsToConv
from edgeconv.export.passes.steps import Step, run
from edgeconv.export.quantize.accuracy.drafts import Drafts, Part, Recipe
from edgeconv.export.quantize.accuracy.first_pass import FirstPass, Surveyed
from edgeconv.export.quantize.accuracy.held_back import HeldBack
from edgeconv.export.quantize.accuracy.judge import Judge
from edgeconv.export.quantize.accuracy.passes import AccuracyPasses, Improvement
from edgeconv.export.quantize.accuracy.repair import repair
from edgeconv.export.quantize.accuracy.sensitivity import keep_worst_in_float, keeping
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.integer_io import apply_io
from edgeconv.export.quantize.layer_choices import with_choices
from edgeconv.export.quantize.parameters import ActivationParameters
from edgeconv.export.quantize.plan import plan
from edgeconv.export.quantize.room import with_room
from edgeconv.export.quantize_options import (
    ActivationType,
    InputIntegers,
    QuantizeOptions,
    RangeMethod,
    Rounding,
)
from edgeconv.progress import Progress, no_progress

__all__ = [
    "ActivationType",
    "Batch",
    "HeldBack",
    "Improvement",
    "QuantizeOptions",
    "QuantizedModel",
    "RangeMethod",
    "Rounding",
    "Surveyed",
    "apply_io",
    "demand_quantizable",
    "fit_to_half",
    "for_pictures",
    "quantize",
    "survey_part",
]


DEFAULTS = QuantizeOptions()


# How many kinds of operators a message names.
_NAMED_KINDS = 5


@dataclass(frozen=True)
class QuantizedModel:
    """A quantized network, and how it came about.

    Attributes:
        model: The QDQ graph.
        float_fallback: The nodes that stayed in float, each as "name (operator): reason".
        improvements: What each accuracy pass did.
        unsettled: That ranges still moved at the end of calibration, in words; otherwise empty.
        range_method: The range method that was used; None for a pre-quantized graph.
        int16: The names of the nodes with activations of 16 bits.
        in_float: The names of the nodes in ``float_fallback``.
        macs_in_float: The share of the network's multiplications that they do.
        layers: The rules of precision by layer, each with the nodes that it decides.
        ranges: What calibration saw of every activation, and what its integers represent.
        entrance: What still has to be done to a picture before ``model``, if the files take one.
        fitted: The float graph with its scales and integer weights; None for a pre-quantized graph.
    """

    model: ir.Model
    float_fallback: tuple[str, ...]
    improvements: tuple[Improvement, ...] = ()
    unsettled: str = ""
    range_method: RangeMethod | None = None
    int16: frozenset[str] = frozenset()
    in_float: frozenset[str] = frozenset()
    macs_in_float: float = 0.0
    layers: tuple[tuple[LayerRule, tuple[str, ...]], ...] = ()
    ranges: tuple[ActivationRange, ...] = ()
    entrance: Normalization | None = None
    fitted: CalibratedModel | None = None

    def with_room(self) -> QuantizedModel:
        """The same with ranges for activations that are about to become int16, all of them.

        It has to be calibrated here: a pre-quantized graph keeps its ranges.
        """
        assert self.fitted is not None
        return replace(self, model=with_room(self.fitted).to_qdq()[0])

    @property
    def roomy(self) -> Mapping[str, ActivationParameters]:
        """The parameters of activations that are about to become int16, by name."""
        return {} if self.fitted is None else with_room(self.fitted).activations

    @property
    def repaired(self) -> bool:
        """Whether repair left operators in float."""
        return any(step.repairs and step.kept for step in self.improvements)


def demand_quantizable(model: ir.Model, options: QuantizeOptions) -> None:
    """Refuse what :func:`quantize` refuses whatever the data is.

    Raises:
        UsageError: Nothing in the network can be quantized, or a name in the options is none of its
            operators'.
    """
    _begun(model, options)


def quantize(
    model: ir.Model,
    batches: Batches,
    options: QuantizeOptions = DEFAULTS,
    progress: Progress = no_progress,
    surveyed: Surveyed | None = None,
    held_back: HeldBack | None = None,
) -> QuantizedModel:
    """Quantize a copy of a float graph with ranges from calibration batches.

    Args:
        model: An optimized float graph with static shapes.
        batches: For each batch, one float32 array per graph input. Quantization reads them several
            times.
        options: How to quantize.
        progress: Called with (step, done, total).
        surveyed: What :func:`survey_part` found on all parts of the data; otherwise the data is
            passed over here. The result is the same.
        held_back: Measures on the samples that verify, which have to reach ``repair_to`` as well;
            None where there are none.

    Raises:
        UsageError: Nothing in the network can be quantized.
        DataError: An activation is NaN or infinite.
    """
    current, improvements = fit(model, batches, options, progress, surveyed, held_back)
    qdq, float_fallback = current.to_qdq()
    left = plan(current.model.graph, current.options).float_fallback
    in_float = frozenset(str(node.name) for node in left)
    return QuantizedModel(
        qdq,
        float_fallback,
        improvements,
        current.unsettled,
        current.options.range_method,
        int16=current.options.chosen.int16 - in_float,
        in_float=in_float,
        macs_in_float=_macs(left) / max(_macs(current.model.graph), 1),
        layers=current.options.chosen.by_rule,
        ranges=current.ranges,
        fitted=current,
    )


def _macs(nodes: Iterable[ir.Node]) -> int:
    return sum(node_macs(node) or 0 for node in nodes)


def survey_part(
    model: ir.Model,
    batches: Batches,
    options: QuantizeOptions,
    index: int,
    parts: int,
    progress: Progress = no_progress,
) -> Surveyed:
    """Make the first pass of :func:`quantize` over one of so many parts of the data.

    Raises:
        UsageError: Nothing in the network can be quantized.
        DataError: An activation is NaN or infinite.
    """
    model, options = _begun(model, options)
    first = FirstPass.of(model, options, judging=options.judges)
    return first.surveyed(batches, progress, index, parts)


def for_pictures(
    entrance: Entrance, batches: Batches, options: QuantizeOptions
) -> tuple[Batches, QuantizeOptions]:
    """What calibrates the graph of an entrance, whose input integers are the bytes of pictures.

    Args:
        entrance: The float graph, and what it leaves to be done to the pictures.
        batches: Pictures.
        options: How to quantize.

    Returns:
        The batches and the options for ``entrance.graph``.
    """
    name = str(entrance.graph.graph.inputs[0].name)
    meaning = InputIntegers(name, entrance.scale, entrance.zero_point - 128)
    return _Pictures(batches, entrance.before), replace(options, input_integers=(meaning,))


class _Pictures:
    """Batches of pictures, as a graph takes them."""

    def __init__(self, batches: Batches, before: Normalization) -> None:
        self._batches, self._before = batches, before

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        for (pictures,) in self._batches:
            yield [self._before.normalized(pictures)]


def fit(
    model: ir.Model,
    batches: Batches,
    options: QuantizeOptions = DEFAULTS,
    progress: Progress = no_progress,
    surveyed: Surveyed | None = None,
    held_back: HeldBack | None = None,
) -> tuple[CalibratedModel, tuple[Improvement, ...]]:
    """Do all of :func:`quantize` except for writing the QDQ graph.

    Returns:
        The float graph with its scales and integer weights, and what each accuracy pass did.
    """
    model, options = _begun(model, options)
    judging = options.judges
    drafts = Drafts(model, batches, options, progress, judging=judging, surveyed=surveyed)
    passes = AccuracyPasses(drafts, batches, options, progress) if judging else None
    recipe = passes.choose() if passes else Recipe(options.range_method)
    if passes is None:
        current = drafts.fit(recipe, Part.WHOLE)
        assert current is not None
        return current, ()
    current, uncorrected = passes.learn(recipe)
    if options.float_places:
        count = options.float_places
        places = keep_worst_in_float(current, uncorrected.model, passes.judge, count)
        if options.repair:
            uncorrected = keeping(uncorrected, places.options.keep_float)
        current = places
    if options.repair:
        current, gained = repair(
            current, uncorrected, passes.judge, progress, options.repair_to, held_back
        )
        passes.record += [gained] if gained else []
    return current, tuple(passes.record)


def _begun(model: ir.Model, options: QuantizeOptions) -> tuple[ir.Model, QuantizeOptions]:
    """The graph and the options that a quantization works with."""
    options = options.decided()
    model = prepare(model)
    options = with_choices(model.graph, options)
    if not plan(model.graph, options).activations:
        if (
            options.keep_float
            and plan(model.graph, replace(options, keep_float=frozenset())).activations
        ):
            raise UsageError(
                "every operator that int8 covers was asked to stay in float",
                hint="name fewer layers with --keep-float or in --layers, or use --precision "
                "float32",
            )
        kinds = ", ".join(sorted({node.op_type for node in model.graph})[:_NAMED_KINDS])
        raise UsageError(
            f"the network has no operator that int8 covers ({kinds})",
            hint="use --precision float32",
        )
    return model, options


def fit_to_half(
    model: ir.Model, batches: Batches, options: QuantizeOptions, progress: Progress = no_progress
) -> tuple[CalibratedModel, Judge]:
    """Do :func:`fit` on one half of the data, and make a judge with samples of the other half.

    Biases are not corrected, because that moves the error of a layer into others. Weights are
    rounded to the nearest integer, and nothing is repaired. A single batch is fitted to and judges.
    """
    options = replace(options, bias_correction=False).decided()
    model = prepare(model)
    options = with_choices(model.graph, options)
    drafts = Drafts(model, batches, options, progress, judging=True)
    recipe = AccuracyPasses(drafts, batches, options, progress).choose()
    current = drafts.fit(recipe, Part.FIRST_HALF)
    assert current is not None
    first, second = drafts.survey.halves
    return current, Judge(drafts.model, (second.kept or first.kept, ()))


def prepare(model: ir.Model) -> ir.Model:
    """Copy a float graph, and bring the copy into the form that quantization works on."""
    steps = [
        Step(BatchNormToDepthwise(), "first: what it writes is planned like any convolution"),
        Step(RowProductsToConv(), "beside it: it writes convolutions too"),
        Step(common.RemoveUnusedNodesPass(), "after them: nothing reads the statistics now"),
        Step(common.NameFixPass(), "last: ranges and weights are kept by the names of values"),
    ]
    return run(model.clone(), steps)
