"""Cross-layer equalization: give the channels of an activation the same range.

All channels of an activation share one scale. A channel with a thousandth of the range of another
is left with less than one of the 256 steps. As relu(a x) = a relu(x) for a > 0, a channel can be
divided by any factor in the layer that makes it and multiplied by it in the layers that read it
(Nagel et al. 2019, arXiv:1906.04721, section 4.1). In the paper each weight has one scale, and the
factors equalize the ranges of two weights. Here weights have one scale per output channel, so it is
the activation that gains. The input channels of a layer that is not depthwise share a scale, so
equalizing costs accuracy in that weight.

The layers of a residual stream share their channels: they are divided alike in all layers that add
to the stream, and multiplied back in all that read it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeconv.export.quantize.accuracy.segments import Segment
from edgeconv.export.quantize.calibration.channel_statistics import ChannelStatistics, Float64
from edgeconv.export.quantize.layers import Layer

# 1 equalizes only the activation, and each channel saturates as soon as it exceeds what
# calibration saw of it; 1/2 equalizes the weights as much, as in the paper. On a network trained on
# digits, with its own channels and with rescaled ones, 3/4 was best or close to it, with 16 samples
# and with 256.
_EXPONENT = 0.75
# A channel in which calibration saw hardly a value is assumed to reach this share of what its
# weights let expect, so that a rare value does not saturate.
_LEAST_SHARE = 0.05
# A channel whose greatest magnitude is more than so many times its root mean square is alive in
# few places, and unseen samples exceed what was seen of it. It is assumed to reach as many times
# further as it is above that. Chosen on EfficientNet-Lite0 and MobileNetV2.
_CREST = 8.0
# Less noise over signal than this counts as none.
_LEAST_RATIO = 1e-12
# A Clip's bound counts as reached from here on.
_REACHED = 0.999


def equalize(segments: list[Segment], statistics: dict[str, ChannelStatistics]) -> int:
    """Rescale the channels of single activations in place.

    That is done where the noise model expects less noise afterwards.

    Args:
        segments: Where channels can be rescaled.
        statistics: The statistics of what carries each segment's channels, by name. They become
            those after the rescaling.

    Returns:
        The number of segments that were changed.
    """
    return _equalize([each for each in segments if len(each.values) == 1], statistics)


def equalize_sums(segments: list[Segment], statistics: dict[str, ChannelStatistics]) -> int:
    """Rescale channels that several activations share: of a residual sum, or around a gate."""
    return _equalize([each for each in segments if len(each.values) > 1], statistics)


def _equalize(segments: list[Segment], statistics: dict[str, ChannelStatistics]) -> int:
    changed = 0
    for segment in segments:
        factors = _choose(segment, statistics)
        if factors is not None:
            _rescale(segment, factors)
            for carrier in segment.carriers & statistics.keys():
                statistics[carrier] = statistics[carrier].divided(factors)
            changed += 1
    return changed


def _choose(segment: Segment, statistics: Mapping[str, ChannelStatistics]) -> Float64 | None:
    """Choose the factors that divide the producers' channels; None to change none."""
    observed = [statistics[str(value.name)] for value in segment.values]
    reach = _reach(segment, statistics)
    if not reach.any():
        return None
    columns = [_column_reach(layer) for layer in segment.consumers]
    column = np.max([each / (each.max() or 1.0) for each in columns], axis=0)
    if segment.bound < np.inf:
        # A channel that does not reach the bound, before gates or behind, may grow towards it.
        high = np.max([each.high for each in observed], axis=0)
        reached = high >= _REACHED * segment.bound
        share = np.where(reach > 0, np.minimum(np.maximum(reach, high) / segment.bound, 1.0), 1.0)
        factors = np.where(reached, 1.0, share**_EXPONENT)
    else:
        factors = _factors(reach, column)
    factors = _quieten_dead(factors, reach, column)
    without = expected_noise(segment, statistics, np.ones_like(reach))
    return factors if expected_noise(segment, statistics, factors) < without else None


def _reach(segment: Segment, statistics: Mapping[str, ChannelStatistics]) -> Float64:
    """The greatest magnitude of each channel, with a floor for channels with hardly a value.

    Of several activations it is the root of the squares' sum, because the one with the widest range
    has the most noise; behind a gate it counts as the product that it becomes. It is zero for a
    channel whose weights are zero and that was never seen to differ from zero.
    """
    shares = [_share_passed(segment, value, statistics) for value in segment.values]
    squares = [_expected_reach(statistics[str(value.name)]) ** 2 for value in segment.values]
    reach = np.sqrt(np.einsum("vc,vc->c", shares, squares))
    norms = [
        np.square(each.weight, dtype=np.float64).sum(axis=(2, 3)).ravel()
        for each in segment.producers
    ]
    norm = np.sqrt(np.einsum("pc,pc->c", shares[: len(norms)], norms))
    alive = (norm > 0) & (reach > 0)
    usual = float(np.median(reach[alive] / norm[alive])) if alive.any() else 0.0
    floored: Float64 = np.maximum(reach, _LEAST_SHARE * usual * norm)
    return floored


def _share_passed(
    segment: Segment, value: ir.Value, statistics: Mapping[str, ChannelStatistics]
) -> Float64:
    """How much of the power of each channel of a value, and of its noise, gates pass on: [C].

    All of it where a gate was never seen open: a channel before it is not dead.
    """
    before = statistics[str(value.name)].mean_square
    share = np.ones_like(before)
    while value in segment.gated:
        value = segment.gated[value]
        after = statistics[str(value.name)].mean_square
        open_ = (before > 0) & (after > 0)
        share *= np.divide(after, before, out=np.ones_like(before), where=open_)
        before = after
    return share


def _expected_reach(observed: ChannelStatistics) -> Float64:
    """The greatest magnitude of each channel that unseen samples let expect."""
    seen = np.maximum(np.abs(observed.low), np.abs(observed.high))
    root_mean_square = np.sqrt(observed.mean_square)
    crest = np.divide(seen, root_mean_square, out=np.ones_like(seen), where=root_mean_square > 0)
    expected: Float64 = seen * np.maximum(crest / _CREST, 1.0)
    return expected


def _factors(reach: Float64, column: Float64) -> Float64:
    """Compute reach^e / column^(1-e), which undoes any earlier rescaling of the same kind.

    The activation keeps its greatest magnitude.
    """
    positive, alive = column > 0, reach > 0
    filled = np.where(positive, column, np.median(column[positive]) if positive.any() else 1.0)
    factors = np.where(alive, reach, 1.0) ** _EXPONENT * filled ** (_EXPONENT - 1)
    scaled: Float64 = factors * (reach / factors).max() / reach.max()
    return scaled


def _quieten_dead(factors: Float64, reach: Float64, column: Float64) -> Float64:
    """Shrink the weights that read a dead channel, so that they do not determine the scale."""
    alive = reach > 0
    level = np.median((factors * column)[alive])
    quiet = level / np.where(column > 0, column, 1.0)
    return np.where(~alive & (column > 0) & (level > 0), quiet, factors)


def expected_noise(
    segment: Segment, statistics: Mapping[str, ChannelStatistics], factors: Float64
) -> float:
    """Estimate noise over signal in the consumers' outputs, as the mean logarithm over channels.

    So an output channel with hardly a signal does not decide alone. The noise is that of quantizing
    the activations and the consumers' weights. Rounding errors are assumed to be uniform.

    Args:
        segment: The segment.
        statistics: The statistics of its activations, by name.
        factors: The factors that divide their channels, [C].
    """
    observed = [statistics[str(value.name)] for value in segment.values]
    step_square = np.sum(
        [
            _share_passed(segment, value, statistics) * _step(each.divided(factors)) ** 2
            for value, each in zip(segment.values, observed, strict=True)
        ],
        axis=0,
    )
    ratios = []
    for layer in segment.consumers:
        weight = layer.weight.astype(np.float64)
        shape = (weight.shape[0], 1, weight.shape[2], 1)
        power = np.square(weight).sum(axis=3)
        read = statistics.get(str(layer.x.name), observed[0])
        mean_square = read.mean_square.reshape(shape)[..., 0]
        factor = factors.reshape(shape)
        signal = (power * mean_square).sum(axis=2)
        steps = step_square.reshape(shape)[..., 0]
        activation = (power * factor[..., 0] ** 2 * steps).sum(axis=2) / 12
        weight_step = np.abs(weight * factor).max(axis=(2, 3)) / 127
        inputs = (mean_square / factor[..., 0] ** 2).sum(axis=2) * weight.shape[3]
        noise = activation + inputs * weight_step**2 / 12
        alive = signal > 0
        ratios.append(noise[alive] / signal[alive])
    joined = np.concatenate(ratios)
    return float(np.log(np.maximum(joined, _LEAST_RATIO)).mean()) if joined.size else 0.0


def _step(observed: ChannelStatistics) -> float:
    """The step of an 8-bit scale that covers everything that was seen."""
    return float(max(observed.high.max(), 0.0) - min(observed.low.min(), 0.0)) / 255


def _column_reach(layer: Layer) -> Float64:
    """The greatest magnitude among the weights that read each input channel."""
    reach: Float64 = np.abs(layer.weight).max(axis=(1, 3)).ravel().astype(np.float64)
    return reach


def _rescale(segment: Segment, factors: Float64) -> None:
    for producer in segment.producers:
        weight = producer.weight
        producer.set_bias(producer.bias / factors)
        producer.set_weight(weight / factors.reshape(*weight.shape[:2], 1, 1))
    for layer in segment.consumers:
        weight = layer.weight
        layer.set_weight(weight * factors.reshape(weight.shape[0], 1, weight.shape[2], 1))
