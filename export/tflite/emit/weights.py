"""Constant operands of convolutions and matrix products, float or int8, with their biases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeconv.export.tflite.builder import FLOAT, INT8, Constant, Stored
from edgeconv.export.tflite.graph import (
    Array,
    ChannelQuantization,
    NoIntegerForm,
    Quantization,
    Tensor,
)
from edgeconv.export.tflite.node_lowering import NodeLowering


@dataclass(frozen=True, eq=False)
class Weights:
    """A constant int8 operand.

    It has its quantized values in ONNX's order, and one float32 scale per output channel or one for
    all.
    """

    codes: Array
    scales: Array

    @property
    def per_channel(self) -> bool:
        """Whether there is one scale per output channel."""
        return self.scales.size > 1


def integer_weights(ctx: NodeLowering, index: int, channel_axis: int) -> Weights:
    """The codes of constant input ``index``, whose output channels lie along ``channel_axis``.

    Raises:
        NoIntegerForm: it is not constant, not int8, not symmetric, or scaled along another axis.
    """
    held = ctx.held(index)
    name = ctx.value(index).name
    if not isinstance(held, Constant):
        raise NoIntegerForm(f"its weight {name} is computed by the network")
    quantization = held.quantization
    if quantization is None or held.array.dtype != INT8:
        raise NoIntegerForm(f"its weight {name} is not int8 with zero point 0")
    if isinstance(quantization, Quantization):
        if quantization.zero_point:
            raise NoIntegerForm(f"its weight {name} has a zero point other than 0")
        return _with_positive_scales(held.array, np.array([quantization.scale], FLOAT), 0)
    if quantization.axis != channel_axis % held.array.ndim:
        raise NoIntegerForm(f"its weight {name} is not scaled along its output channels")
    return _with_positive_scales(held.array, quantization.scales, quantization.axis)


def _with_positive_scales(codes: Array, scales: Array, axis: int) -> Weights:
    """Some quantizers state a channel of zeros by a scale of 0, which no kernel takes."""
    dead = scales == 0
    if not dead.any():
        return Weights(codes, scales)
    along = [1] * codes.ndim
    along[axis] = -1
    return Weights(
        np.where(dead.reshape(along), 0, codes).astype(codes.dtype),
        np.where(dead, 1, scales).astype(FLOAT),
    )


def weight_tensor(ctx: NodeLowering, index: int, codes: Array, scales: Array, axis: int) -> Tensor:
    """An int8 weight tensor, its ``scales`` along ``axis``."""
    name = ctx.value(index).name or f"{ctx.name}/weight"
    return ctx.builder.constant(codes, name, _stated(scales, axis))


def integer_bias(
    ctx: NodeLowering, index: int | None, x: Tensor, scales: Array, channels: int
) -> Tensor:
    """The int32 bias of an operator that multiplies ``x`` with weights of ``scales``.

    Its scale is the product of the two, as the kernels assume. Zeros where ``index`` is None or
    the node has no such input.

    Raises:
        NoIntegerForm: the network computes the bias.
    """
    assert isinstance(x.quantization, Quantization)
    product = (np.float32(x.quantization.scale) * scales).astype(FLOAT)
    held: Stored | Constant = Constant(np.zeros(channels, np.int32))
    name: str | None = f"{ctx.name}/bias"
    if index is not None and ctx.has(index):
        held, name = ctx.held(index), ctx.value(index).name
    if not isinstance(held, Constant):
        raise NoIntegerForm(f"its bias {name} is computed by the network")
    codes = held.array.reshape(-1)
    if codes.dtype != np.int32 or not _same_scale(held, product):
        limits = np.iinfo(np.int32)
        real = np.rint(held.real().reshape(-1) / product.astype(np.float64))
        codes = np.clip(real, limits.min, limits.max).astype(np.int32)
    codes = np.broadcast_to(codes, (channels,))
    return ctx.builder.constant(codes, name or "bias", _stated(product, 0))


def float_bias(ctx: NodeLowering, index: int, channels: int) -> Tensor:
    """The bias as a float tensor of ``channels``; zeros where the node has none."""
    if ctx.has(index):
        return ctx.tensor(index)
    return ctx.builder.constant(np.zeros(channels, FLOAT), f"{ctx.name}/bias")


def _stated(scales: Array, axis: int) -> Quantization | ChannelQuantization:
    if scales.size == 1:
        return Quantization(float(scales.reshape(-1)[0]), 0)
    return ChannelQuantization(scales, axis)


def _same_scale(held: Constant, scales: Array) -> bool:
    if isinstance(held.quantization, ChannelQuantization):
        own: Array = held.quantization.scales
    elif isinstance(held.quantization, Quantization) and not held.quantization.zero_point:
        own = np.array([held.quantization.scale], FLOAT)
    else:
        return False
    # Producers compute the product in float32 or float64; both mean the same codes.
    return bool(np.allclose(own, scales, rtol=1e-6, atol=0))
