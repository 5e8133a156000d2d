"""Normalizations, as the arithmetic that they are."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from edgeconv.export.tflite.builder import FLOAT, Stored
from edgeconv.export.tflite.emit.affine import per_channel_affine
from edgeconv.export.tflite.graph import Array, Options, Tensor
from edgeconv.export.tflite.layout import (
    Order,
    Perm,
    Shape,
    channels_last,
    identity,
    permuted,
)
from edgeconv.export.tflite.node_lowering import Site
from edgeconv.export.tflite.ops.indexing import own_perm
from edgeconv.export.tflite.registry import Integer, operator

LARGEST_RANK = 5
"""Of the tensors that every runtime broadcasts."""


class Steps:
    """Float operators on tensors of one rank, one call each; numbers become constants."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._count = 0

    def __call__(self, name: str, *operands: Tensor | float | Array) -> Tensor:
        tensors = [self._tensor(operand) for operand in operands]
        return self._emit(name, tensors, np.broadcast_shapes(*(item.shape for item in tensors)))

    def mean(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """The mean over ``axes`` of the tensor, which stay with a size of 1."""
        along = self.site.builder.integers(sorted(axes), f"{self.site.name}/axes")
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
        return self._emit("MEAN", [x, along], shape, {"keepDims": True})

    def _emit(
        self, name: str, inputs: list[Tensor], shape: Shape, options: Options | None = None
    ) -> Tensor:
        result = self.site.fresh(f"{name.lower()}{self._count}", shape)
        self._count += 1
        self.site.builder.emit(name, inputs, [result], options)
        return result

    def _tensor(self, operand: Tensor | float | Array) -> Tensor:
        if isinstance(operand, Tensor):
            return operand
        return self.site.builder.constant(np.asarray(operand, FLOAT), f"{self.site.name}/constant")


@operator("BatchNormalization", integer=Integer.COMPUTES, fuses=True)
def batch_normalization(site: Site) -> None:
    """A 1x1 depthwise convolution with what the four statistics amount to for each channel.

    XNNPACK runs it as one multiply-add a number. In int8 it is exact but for the rounding of the
    result: with a scale for each channel, one number a channel is always 127 or -127.
    """
    if site.integer_attribute("training_mode", 0):
        raise site.unsupported("training_mode is 1", "export the network in eval mode")
    scale, shift, mean, variance = (
        site.demand_constant(index, what).astype(np.float64)
        for index, what in enumerate(("scale", "bias", "mean", "variance"), start=1)
    )
    factor = scale / np.sqrt(variance + site.float_attribute("epsilon", 1e-5))
    per_channel_affine(site, factor, shift - mean * factor)


def standardized(steps: Steps, x: Tensor, axes: Sequence[int], epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon), both over ``axes`` of the tensor."""
    centered = steps("SUB", x, steps.mean(x, axes))
    variance = steps.mean(steps("MUL", centered, centered), axes)
    return steps("MUL", centered, steps("RSQRT", steps("ADD", variance, epsilon)))


@operator("LayerNormalization")
def layer_normalization(site: Site) -> None:
    """Over the last axes, wherever they are stored."""
    shape = site.shape(0)
    rank = len(shape)
    first = site.integer_attribute("axis", -1) % rank
    perm = own_perm(site)
    steps = Steps(site)
    axes = [perm.index(axis) for axis in range(first, rank)]
    epsilon = site.float_attribute("epsilon", 1e-5)
    result = standardized(steps, site.tensor(0, perm), axes, epsilon)
    result = steps("MUL", result, _along(site, 1, perm))
    if site.has(2):
        result = steps("ADD", result, _along(site, 2, perm))
    site.finish(result, Order.of(shape, perm))


@operator("RMSNormalization")
def rms_normalization(site: Site) -> None:
    shape = site.shape(0)
    rank = len(shape)
    first = site.integer_attribute("axis", -1) % rank
    perm = own_perm(site)
    steps = Steps(site)
    x = site.tensor(0, perm)
    square = steps.mean(steps("MUL", x, x), [perm.index(axis) for axis in range(first, rank)])
    root = steps("RSQRT", steps("ADD", square, site.float_attribute("epsilon", 1e-5)))
    result = steps("MUL", steps("MUL", x, root), _along(site, 1, perm))
    site.finish(result, Order.of(shape, perm))


def _along(site: Site, index: int, perm: Perm) -> Tensor:
    """A parameter that broadcasts to the first input from the right, in the order ``perm``."""
    own = site.shape(index)
    shape = (1,) * (len(perm) - len(own)) + own
    return site.builder.placed(site.stored(index), shape, perm)


@operator("InstanceNormalization")
def instance_normalization(site: Site) -> None:
    """Over the spatial axes of each channel."""
    _grouped(site, groups=site.shape(0)[1])


@operator("GroupNormalization")
def group_normalization(site: Site) -> None:
    """Over the spatial axes and the channels of each group."""
    _grouped(site, groups=site.integer_attribute("num_groups", 1))


def _grouped(site: Site, groups: int) -> None:
    """Standardize the elements of each group, wherever they are stored, then scale and shift each
    channel."""
    shape = site.shape(0)
    n, channels, pixels = shape[0], shape[1], prod(shape[2:])
    logical = (n, groups, channels // groups, pixels)
    source = site.stored(0)
    found = source.order.grouped(logical)
    if found is None or len(found[1]) > LARGEST_RANK:
        order = Order.of(shape, channels_last(len(shape)))
        source = Stored(site.builder.arranged(source, order, source.tensor.shape), order)
        found = order.grouped(logical)
        assert found is not None
    (_, group, inner, spatial), dims, perm = found
    steps = Steps(site)
    axes = [place for place, index in enumerate(perm) if index in (*inner, *spatial)]
    x = source.tensor
    if len(axes) == len(perm):
        axes = [*range(len(x.shape))]
    else:
        x = site.builder.reshape(x, permuted(dims, perm))
    result = standardized(steps, x, axes, site.float_attribute("epsilon", 1e-5))
    parts = [dims[index] if index in (*group, *inner) else 1 for index in range(len(dims))]
    for index, name, neutral in ((1, "MUL", 1), (2, "ADD", 0)):
        parameter = site.demand_constant(index, "scale and bias")
        if parameter.size != channels:
            raise site.unsupported("it scales groups, not channels", "export with opset 21 or more")
        if np.all(parameter == neutral):
            continue
        if parameter.size > 1:
            parameter = parameter.reshape(parts).transpose(perm)
        result = steps(name, result, parameter)
    site.finish(result, source.order)


# 196 x 64 on a Cortex-A72, millions of instructions: L2_NORMALIZATION in int8 0.58, this 0.07.
@operator("LpNormalization", reason="TFLite's int8 kernel is slower than float")
def lp_normalization(site: Site) -> None:
    """x over its L1 or L2 norm along an axis; 0 stays 0."""
    power = site.integer_attribute("p", 2)
    shape = site.shape(0)
    perm = own_perm(site)
    axis = perm.index(site.integer_attribute("axis", -1) % len(shape))
    steps = Steps(site)
    x = site.tensor(0, perm)
    magnitude = steps("MUL", x, x) if power == 2 else steps("ABS", x)
    # The mean times the count is the sum.
    total = steps("MUL", steps.mean(magnitude, [axis]), float(x.shape[axis]))
    norm = steps("SQRT", total) if power == 2 else total
    smallest = float(np.finfo(FLOAT).tiny)
    site.finish(steps("DIV", x, steps("MAXIMUM", norm, smallest)), Order.of(shape, perm))


@operator("LogSoftmax", reason="TFLite's int8 kernel gives nothing below -16, in steps of 1/16")
def log_softmax(site: Site) -> None:
    """LOG_SOFTMAX over the last axis of the stored tensor."""
    rank = len(site.shape(0))
    axis = site.integer_attribute("axis", -1) % rank
    perm = own_perm(site)
    if perm[-1] != axis:
        perm = (*(other for other in identity(rank) if other != axis), axis)
    site.emit("LOG_SOFTMAX", [site.tensor(0, perm)], perm)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(site: Site) -> None:
    """(x - mean) / sqrt(variance), over the batch and the spatial axes if none are named."""
    shape = site.shape(0)
    perm = own_perm(site)
    named = site.integers_attribute("axes", (0, 2, 3))
    axes = [perm.index(axis % len(shape)) for axis in named]
    result = standardized(Steps(site), site.tensor(0, perm), axes, 1e-9)
    site.finish(result, Order.of(shape, perm))


@operator("LRN")
def local_response_normalization(site: Site) -> None:
    """LOCAL_RESPONSE_NORMALIZATION, whose window has a middle and whose alpha counts each
    neighbor."""
    size = site.integer_attribute("size", 1)
    if size % 2 == 0:
        raise site.unsupported(f"size is {size}", "use an odd size")
    shape = site.shape(0)
    perm = channels_last(len(shape))
    order = Order.of(shape, perm)
    flat = (shape[0], prod(shape[2:]), 1, shape[1])
    x = site.builder.arranged(site.stored(0), order, flat)
    options: Options = {
        "radius": size // 2,
        "bias": site.float_attribute("bias", 1.0),
        "alpha": site.float_attribute("alpha", 1e-4) / size,
        "beta": site.float_attribute("beta", 0.75),
    }
    site.emit_stored("LOCAL_RESPONSE_NORMALIZATION", [x], flat, order, options)
