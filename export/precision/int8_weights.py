"""Scales of int8 weights beside float activations: those of the file where it has int8 weights.

Weights of a file that is quantized already are float32(k × scale) with whole k. Such a channel is
found again by its numbers, and keeps its integers: nothing is rounded twice.
"""

from __future__ import annotations

import numpy as np

from edgeconv.export.quantize.parameters import Float32, WeightParameters, weight_parameters

_LARGEST = 127
# The largest number of a channel is rounded once, and its quotient by k again: together that is at
# most two units in the last place of the scale.
_ULPS = 2
_FIRST_LOOK = 16


def int8_weights(weight: Float32, axis: int) -> WeightParameters:
    """Choose a scale for each channel along ``axis``.

    A channel whose numbers are exactly whole multiples of one number, up to 127, has that one; any
    other has the smallest that covers it.
    """
    usual = weight_parameters(weight, axis, None, 1.0)
    channels = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    scale = [
        exact_scale(channel) or default
        for channel, default in zip(channels, usual.scale, strict=True)
    ]
    return WeightParameters(np.asarray(scale, np.float32), axis)


def exact_scale(numbers: Float32) -> np.float32 | None:
    """The largest scale of which all ``numbers`` are whole multiples up to 127, bit by bit."""
    largest = np.abs(numbers).max(initial=np.float32(0))
    if not largest:
        return None
    bits = (largest / np.arange(1, _LARGEST + 1, dtype=np.float32)).view(np.int32)
    # [candidates, 1]: each quotient, and its neighbors.
    scales = (bits[:, None] + np.arange(-_ULPS, _ULPS + 1)).astype(np.int32).view(np.float32)
    scales = scales.reshape(-1, 1)
    for part in (numbers[:_FIRST_LOOK], numbers):
        codes = np.rint(part / scales)
        fits = (np.abs(codes) <= _LARGEST) & (codes.astype(np.float32) * scales == part)
        scales = scales[fits.all(axis=1)]
    return np.float32(scales[0, 0]) if len(scales) else None
