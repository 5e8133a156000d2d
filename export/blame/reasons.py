"""Describe why a layer loses accuracy in 8 bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edgeconv.export.blame.causes import ALL, OUTPUT, WEIGHT, input_name
from edgeconv.export.blame.statistics import Statistics
from edgeconv.export.blame.units import Unit
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.layers import Array, constant, grouped, has_bias
from edgeconv.export.quantize.parameters import ActivationParameters

# A channel with a sixteenth of the range is left with four bits.
_CHANNEL_RATIO = 16.0
# If 99.9 % of the values lie in a quarter of the range, two of the bits serve a thousandth of them.
_INNER_SHARE = 0.25
_CLIPPED_SHARE = 0.001
_USED_SHARE = 0.5
# The largest of a thousand normal values is about 3.3 standard deviations from zero.
_PEAK = 10.0


def explain(
    unit: Unit,
    draft: CalibratedModel,
    decibels: Mapping[str, float],
    statistics: Mapping[str, Statistics],
) -> str:
    """Describe why a layer loses accuracy, looking at the tensor whose rounding costs most.

    Args:
        unit: The layer.
        draft: The float graph, with the parameters and integer weights of its layers.
        decibels: SQNR of the layer's output with only one tensor rounded, by that tensor.
        statistics: Statistics of the activations, by name.
    """
    worst = min((cause for cause in decibels if cause != ALL), key=lambda cause: decibels[cause])
    if worst == WEIGHT:
        findings = list(_weight_findings(unit, draft))
    else:
        inputs = {input_name(index): name for index, name in enumerate(unit.inputs)}
        activation = unit.output if worst == OUTPUT else inputs[worst]
        findings = list(_activation_findings(statistics[activation], draft.activations[activation]))
    findings += _bias_findings(unit, draft)
    where = "input" if len(unit.inputs) == 1 and worst == input_name(0) else worst
    if findings:
        return f"{where}: {'; '.join(findings)}"
    return f"{where}: nothing stands out, rounding it leaves {decibels[worst]:.1f} dB"


def _activation_findings(seen: Statistics, parameters: ActivationParameters) -> Iterator[str]:
    covered = parameters.range.high - parameters.range.low
    alive = seen.channel_spans[seen.channel_spans > 0]
    median = float(np.median(alive)) if len(alive) else 0.0
    # A channel cannot use more than the covered range.
    widest = min(float(seen.channel_spans.max()), covered)
    if len(alive) > 1 and widest >= _CHANNEL_RATIO * median:
        levels = max(1, round(median / parameters.scale))
        yield (
            f"channel {seen.widest_channel} spans {_number(widest)}, the median channel "
            f"{_number(median)} (1:{_number(widest / median)}), which leaves it {levels} of 256 "
            "quantized values"
        )
    low, high = seen.inner
    if high - low <= _INNER_SHARE * covered:
        yield (
            f"outliers: 99.9% of the values lie in [{_number(low)}, {_number(high)}], "
            f"{(high - low) / covered:.0%} of the range"
        )
    elif min(covered, seen.high - seen.low) <= _USED_SHARE * covered:
        share = (seen.high - seen.low) / covered
        yield (
            f"its values, [{_number(seen.low)}, {_number(seen.high)}], use {share:.0%} of the range"
        )
    if seen.clipped >= _CLIPPED_SHARE:
        yield f"{seen.clipped:.1%} of the values are clipped"


def _weight_findings(unit: Unit, draft: CalibratedModel) -> Iterator[str]:
    node = unit.node
    parameters = draft.weights[str(node.outputs[0].name)].parameters
    weight = constant(node, 1)
    by_output = _rows(weight, parameters.axis)
    largest = np.abs(by_output).max(axis=1)
    channels = grouped(node, weight)
    by_input = np.abs(channels).max(axis=(1, 3)).ravel()
    alive = by_input[by_input > 0]
    ratio = float(by_input.max() / np.median(alive)) if len(alive) else 0.0
    if channels.shape[2] > 1 and ratio >= _CHANNEL_RATIO:
        yield (
            f"input channel {int(by_input.argmax())} has weights {_number(ratio)} times those of "
            "the median channel, and the scale of each output has to cover both"
        )
        return
    typical = np.sqrt(np.mean(np.square(by_output), axis=1))
    peak = largest / np.maximum(typical, 1e-30)
    if peak.max() >= _PEAK:
        yield (
            f"output channel {int(peak.argmax())} has a weight {_number(float(peak.max()))} times "
            "its typical one"
        )


def _bias_findings(unit: Unit, draft: CalibratedModel) -> Iterator[str]:
    rounded = draft.weights.get(str(unit.node.outputs[0].name))
    if rounded is None or not has_bias(unit.node):
        return
    largest = np.abs(_rows(constant(unit.node, 1), rounded.parameters.axis)).max(axis=1)
    raised = int(np.sum(rounded.parameters.scale > np.maximum(largest, 1e-12) / 127 * 1.001))
    if raised:
        yield (
            f"saturated bias: in {raised} of {len(largest)} channels it only fits into 32 bits "
            "with a coarser scale of the weight"
        )


def _rows(weight: Array, axis: int | None) -> Array:
    """Reshape a weight to [scales, everything else], each row with a scale of its own."""
    if axis is None:
        return weight.reshape(1, -1)
    return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)


def _number(value: float) -> str:
    """Format with two digits, without an exponent where that is readable."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:.0f}" if 10 <= abs(rounded) < 1e6 else f"{rounded:g}"
