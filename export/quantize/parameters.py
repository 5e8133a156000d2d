"""Scales and zero points: the arithmetic of TFLite's 8-bit quantization specification.

A real number is scale * (integer - zero_point). Activations are asymmetric with one scale per
tensor. Weights are symmetric in [-127, 127] with one scale per output channel. A bias is int32, and
its scale is input scale * weight scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Integers = npt.NDArray[np.integer[Any]]

# A range narrower than this is a constant; its scale must still be a normal float32, and stay one
# when it is multiplied by a weight scale.
MIN_SPAN = 1e-6
_MIN_WEIGHT_SCALE = 1e-12
# With 254 steps from 0 to 1 a quantized value stands for 0.5. With 255 steps 0.5 lies between two
# of them. It is the HardSigmoid of zero, which whole channels may have, and runtimes that round
# such a tie differently drift apart.
_GATE_HIGH = 255 / 254
# XNNPACK refuses convolutions whose accumulator's step is 256 output steps or more. There a single
# step saturates the output whatever the weight is.
_MAX_STEP_RATIO = 255.0
# Half of int32 is left for the accumulated products. An activation of int16 has steps that are 256
# times finer, and so has its bias; ONNX Runtime makes int32 even of a float bias.
_MAX_BIAS = 2**30 // 256


@dataclass(frozen=True)
class Range:
    """The real interval that an activation takes."""

    low: float
    high: float

    @property
    def reach(self) -> float:
        """The largest magnitude in it."""
        return max(abs(self.low), abs(self.high))

    @property
    def span(self) -> float:
        """The width of what 8 bits have to cover, which includes zero."""
        return max(self.high, 0.0) - min(self.low, 0.0)

    def union(self, other: Range) -> Range:
        """The smallest range that contains both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class ActivationParameters:
    """Scale and zero point of an activation.

    Attributes:
        scale: The size of one step.
        zero_point: The int8 integer that stands for zero. In the uint8 form, 128 is added to the
            zero point and to all integers.
    """

    scale: float
    zero_point: int

    @property
    def range(self) -> Range:
        """The interval that the 256 integers represent."""
        return Range(
            self.scale * (-128 - self.zero_point),
            self.scale * (127 - self.zero_point),
        )

    def stored_zero_point(self, dtype: npt.DTypeLike) -> np.integer[Any]:
        """The zero point as ONNX stores it beside int8 or uint8 integers."""
        shift = 128 if np.dtype(dtype) == np.uint8 else 0
        zero_point: np.integer[Any] = np.dtype(dtype).type(self.zero_point + shift)
        return zero_point

    def quantize(self, values: npt.NDArray[np.floating[Any]], dtype: npt.DTypeLike) -> Integers:
        """Quantize real ``values`` to integers of ``dtype``: round half to even, saturate."""
        info = np.iinfo(np.dtype(dtype))
        integers = np.rint(values / np.float32(self.scale)) + int(self.stored_zero_point(dtype))
        saturated: Integers = np.clip(integers, info.min, info.max).astype(dtype)
        return saturated

    def round_trip(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Quantize the values to 8 bits and convert them back."""
        integers = self.quantize(values, np.int8).astype(np.float32)
        real: npt.NDArray[np.float32] = np.float32(self.scale) * (integers - self.zero_point)
        return real


def activation_parameters(observed: Range, *, symmetric: bool = False) -> ActivationParameters:
    """Choose the parameters that cover ``observed`` and represent zero exactly.

    Args:
        observed: What has to be covered.
        symmetric: Whether zero has to be the integer 0, so that -127 and 127 are the ends.
    """
    if symmetric and observed.reach > MIN_SPAN:
        return ActivationParameters(float(np.float32(observed.reach / 127)), 0)
    low, high = min(observed.low, 0.0), max(observed.high, 0.0)
    if (low, high) == (0.0, 1.0):
        high = _GATE_HIGH
    if low == high == 0:
        # Every scale states zero exactly. A tiny one would overflow what kernels multiply by its
        # reciprocal, as a bias that keeps a Relu at zero.
        high = 1.0
    elif high - low < MIN_SPAN:
        high = low + MIN_SPAN
    scale = float(np.float32((high - low) / 255))
    zero_point = int(np.clip(np.rint(-128 - low / scale), -128, 127))
    return ActivationParameters(scale, zero_point)


@dataclass(frozen=True)
class WeightParameters:
    """The scales of a weight.

    Attributes:
        scale: One float32 scale per output channel, [outputs], or a single one, [].
        axis: The dimension of the weight that the scales run along; None for a single scale.
    """

    scale: Float32
    axis: int | None

    def aligned_scale(self, rank: int) -> Float32:
        """The scales in a shape that broadcasts along ``axis`` of a weight of that rank."""
        if self.axis is None:
            return self.scale
        shape = [1] * rank
        shape[self.axis] = -1
        return self.scale.reshape(shape)

    def quantize(self, weight: Float32) -> npt.NDArray[np.int8]:
        """Quantize a real weight: round half to even, saturate at [-127, 127]."""
        integers = np.rint(weight / self.aligned_scale(weight.ndim))
        saturated: npt.NDArray[np.int8] = np.clip(integers, -127, 127).astype(np.int8)
        return saturated


def weight_parameters(
    weight: Float32,
    axis: int | None,
    bias: Float32 | None,
    input_scale: float,
    output_scale: float = np.inf,
    *,
    per_tensor: bool = False,
) -> WeightParameters:
    """Choose symmetric parameters per channel along ``axis``, or a single one if it is None.

    With ``per_tensor`` the largest of the channels' scales is that of the whole weight.

    The scale of a channel of zeros, or of one far smaller than its bias, is large enough for the
    bias to fit into int32. The scale of a channel far larger than its output is as large as the
    runtimes accept.
    """
    others = tuple(a for a in range(weight.ndim) if a != axis)
    scale = np.asarray(np.abs(weight).max(axis=others), np.float64) / 127
    if bias is not None:
        # The groups of a transposed convolution share the scales of their outputs.
        reach = np.abs(bias, dtype=np.float64).reshape(-1, len(scale)).max(axis=0)
        scale = np.maximum(scale, reach / (input_scale * _MAX_BIAS))
    scale = np.minimum(scale, _MAX_STEP_RATIO * output_scale / input_scale)
    scale = np.maximum(scale.max() if per_tensor else scale, _MIN_WEIGHT_SCALE)
    return WeightParameters(np.asarray(scale, np.float32), None if per_tensor else axis)


def bias_scale(input_scale: float, weight_scale: Float32, size: int) -> Float32:
    """The scales of a bias: the product as the runtimes form it, in float32.

    Args:
        input_scale: The scale of the activation.
        weight_scale: The scales of the weight.
        size: The length of the bias. It is a multiple of that of the weight scales in a transposed
            convolution, whose groups share the scales of their outputs.
    """
    product: Float32 = np.asarray(np.float32(input_scale) * weight_scale)
    return product if product.ndim == 0 else np.tile(product, size // len(product))


def quantize_bias(bias: Float32, scale: Float32) -> npt.NDArray[np.int32]:
    """Quantize a bias: round half to even, saturate."""
    integers = np.rint(bias.astype(np.float64) / scale)
    info = np.iinfo(np.int32)
    return np.clip(integers, info.min, info.max).astype(np.int32)
