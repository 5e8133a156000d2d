"""A calibrated network: a float graph with the parameters that turn it into a QDQ graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.calibrated_ranges import ActivationRange
from edgeconv.export.data.samples import Batches
from edgeconv.export.passes.steps import Step, run
from edgeconv.export.quantize.calibration.calibrate import calibrate
from edgeconv.export.quantize.calibration.observer import Observed
from edgeconv.export.quantize.calibration.ranges.histogram import Histogram
from edgeconv.export.quantize.calibration.seen import activation_range
from edgeconv.export.quantize.insert_qdq import InsertQdq
from edgeconv.export.quantize.layers import is_weighted
from edgeconv.export.quantize.needs import Watch
from edgeconv.export.quantize.parameters import ActivationParameters, Range
from edgeconv.export.quantize.plan import Plan, plan
from edgeconv.export.quantize.weights import QuantizedWeight, round_to_nearest
from edgeconv.export.quantize_options import QuantizeOptions
from edgeconv.progress import Progress, no_progress


@dataclass(frozen=True)
class CalibratedModel:
    """A float graph with its quantization parameters. It is never changed in place.

    Attributes:
        model: The float graph.
        options: How it is quantized.
        activations: The parameters of every activation that is quantized, by name.
        weights: The integer weights of every layer that is not left in float, by the layer's name.
        unsettled: That ranges still moved at the end of calibration, in words; otherwise empty.
        seen: What was seen of the activations that share a scale, by the name of the first.
    """

    model: ir.Model
    options: QuantizeOptions
    activations: dict[str, ActivationParameters]
    weights: dict[str, QuantizedWeight]
    unsettled: str = ""
    seen: Mapping[str, Sequence[Histogram]] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[str, ActivationParameters]:
        """The parameters of the activation that each layer reads, by the layer's name."""
        return {
            str(node.outputs[0].name): self.activations[str(node.inputs[0].name)]
            for node in self.model.graph
            if node.inputs and node.inputs[0] and str(node.outputs[0].name) in self.weights
        }

    @property
    def ranges(self) -> tuple[ActivationRange, ...]:
        """What was seen of every activation, and what its integers represent."""
        return tuple(
            activation_range(name, histograms, self.activations[name].range)
            for name, histograms in self.seen.items()
            if name in self.activations
        )

    def with_model(self, model: ir.Model) -> CalibratedModel:
        """Replace the graph by one that differs only in its biases.

        The weights of a layer whose scale depends on its bias are rounded again.
        """
        weights = dict(self.weights)
        for node in model.graph:
            name = str(node.outputs[0].name)
            if name in weights:
                nearest = _rounded(node, self.activations, self.options)
                if (nearest.parameters.scale != weights[name].parameters.scale).any():
                    weights[name] = nearest
        return replace(self, model=model, weights=weights)

    def to_qdq(self) -> tuple[ir.Model, tuple[str, ...]]:
        """Make the QDQ graph, and list what stays in float, each as "name (operator): reason"."""
        model = self.model.clone()
        decisions = plan(model.graph, self.options)
        parameters = {value: self.activations[str(value.name)] for value in decisions.activations}
        dtype = self.options.activation_type.value
        steps = [
            Step(
                InsertQdq(decisions, parameters, dtype, self.weights),
                "first: the plan is one of this very graph",
            ),
            Step(common.RemoveUnusedNodesPass(), "after it: nothing reads the float weights now"),
        ]
        model = run(model, steps)
        left = tuple(
            f"{node.name} ({node.op_type}): {reason}"
            for node, reason in decisions.float_fallback.items()
        )
        return model, left


def draft(
    model: ir.Model,
    batches: Batches,
    options: QuantizeOptions,
    progress: Progress = no_progress,
) -> CalibratedModel:
    """Find ranges on ``batches``, and round weights to the nearest integer.

    What reads or writes values that no scale covers stays in float.

    Raises:
        DataError: An activation is NaN or infinite.
    """
    watch = Watch(model, options)
    method, outputs = options.range_method, watch.outputs
    found = calibrate(watch.model, watch.groups, batches, method, progress, outputs)
    ranges = watch.cut(found.ranges)
    if far := watch.out_of_reach(ranges):
        return draft(
            model, batches, replace(options, keep_float=options.keep_float | far), progress
        )
    return _calibrated(model, options, watch.plan, ranges, found.unsettled())


def draft_from(
    model: ir.Model,
    options: QuantizeOptions,
    observed: Observed,
    unsettled: str = "",
    watch: Watch | None = None,
) -> CalibratedModel:
    """Do what :func:`draft` does with what was observed before.

    Args:
        model: The float graph.
        options: How it is quantized.
        observed: What was observed of the same :class:`Watch`.
        unsettled: That ranges still moved at the end of calibration.
        watch: The one of this very graph, if there is one, whatever its range method.
    """
    watch = watch or Watch(model, options)
    ranges = watch.ranges(observed, options.range_method)
    return _calibrated(model, options, watch.plan, ranges, unsettled)


def _calibrated(
    model: ir.Model,
    options: QuantizeOptions,
    decisions: Plan,
    ranges: Mapping[str, Range],
    unsettled: str,
) -> CalibratedModel:
    activations = {
        str(value.name): parameters for value, parameters in decisions.parameters(ranges).items()
    }
    weights = {
        str(node.outputs[0].name): _rounded(node, activations, options)
        for node in model.graph
        if is_weighted(node) and node not in decisions.float_fallback and node.inputs[0]
    }
    return CalibratedModel(model, options, activations, weights, unsettled)


def _rounded(
    node: ir.Node, activations: Mapping[str, ActivationParameters], options: QuantizeOptions
) -> QuantizedWeight:
    per_tensor = node.name in options.chosen.per_tensor
    return round_to_nearest(node, activations, per_tensor=per_tensor)
