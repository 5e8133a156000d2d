"""High-bias absorption: move a constant part of an activation channel into the next bias.

A channel with values between 10 and 11 wastes most of its integers on the interval from 0 to 10. As
relu(x) - c = relu(x - c) wherever x > c, the constant c can be subtracted from the bias before and
added, through the weights, to the bias after (Nagel et al. 2019, arXiv:1906.04721, section 4.1.3).
Without a function in between this holds for every constant, and the middle of the channel's range
is the best one.
"""

from __future__ import annotations

import numpy as np

from edgeconv.export.quantize.accuracy.segments import Segment
from edgeconv.export.quantize.calibration.channel_statistics import ChannelStatistics, Float64
from edgeconv.export.quantize.layers import Layer
from edgeconv.export.traits import Trait, operators

_KEEPS_POSITIVE = operators(Trait.KEEPS_POSITIVE)
_CURVED = operators(Trait.KEEPS_POSITIVE, without=Trait.VIEWS | Trait.POOLS)
# A channel whose greatest magnitude would shrink by less than this share is not changed.
_LEAST_SHARE = 0.1


def absorb(segments: list[Segment], statistics: dict[str, ChannelStatistics]) -> int:
    """Shift channels in place.

    Args:
        segments: Where channels can be shifted.
        statistics: The statistics of what carries each segment's channels, by name. They become
            those after the shift.

    Returns:
        The number of segments that were changed.
    """
    changed = 0
    for segment in segments:
        name = str(segment.values[0].name)
        offset = _offset(segment, statistics[name])
        if offset is not None:
            _shift(segment, offset)
            for carrier in segment.carriers & statistics.keys():
                statistics[carrier] = statistics[carrier].shifted(offset)
            changed += 1
    return changed


def _offset(segment: Segment, observed: ChannelStatistics) -> Float64 | None:
    """What to subtract from each channel; None to change none of them."""
    if len(segment.values) > 1:
        return None  # a sum would have to be shifted by as much as its parts together
    if not all(node.op_type in _KEEPS_POSITIVE for node in segment.between):
        return None
    if not all(_sees_every_tap(layer) for layer in segment.consumers):
        return None
    if any(node.op_type in _CURVED for node in segment.between):
        offset = np.maximum(observed.low, 0.0)
    else:
        offset = (observed.low + observed.high) / 2
    reach, left = _reach(observed), _reach(observed.shifted(offset))
    # A small channel counts as much as a large one: equalization may follow.
    offset = np.where(left < (1 - _LEAST_SHARE) * reach, offset, 0.0)
    return offset if offset.any() else None


def _reach(observed: ChannelStatistics) -> Float64:
    reach: Float64 = np.maximum(np.abs(observed.low), np.abs(observed.high))
    return reach


def _sees_every_tap(layer: Layer) -> bool:
    """Whether each output sums over all taps; at a padded border the constant would be missing."""
    node = layer.node
    if node.op_type == "Gemm":
        return True
    return (
        node.op_type == "Conv"
        and not any(node.attributes.get_ints("pads", ()))
        and node.attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    )


def _shift(segment: Segment, offset: Float64) -> None:
    (producer,) = segment.producers
    producer.set_bias(producer.bias - offset)
    for layer in segment.consumers:
        weight = layer.weight.astype(np.float64)
        groups, outputs, inputs, _ = weight.shape
        moved = np.einsum("goit,gi->go", weight, offset.reshape(groups, inputs))
        layer.set_bias(layer.bias + moved.reshape(groups * outputs))
