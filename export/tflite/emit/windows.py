"""Kernel windows of convolutions and pools: ONNX's padding in terms of TFLite's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.export.tflite.builder import FLOAT
from edgeconv.export.tflite.emit.borders import Pairs, bordered
from edgeconv.export.tflite.graph import Array, Padding, Tensor
from edgeconv.export.tflite.layout import CHANNELS_LAST, Order, Shape
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.window_pads import Windows

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A 2-D window, height first.

    ``low`` and ``high`` count the padding that a window touches. Rows behind the last window need
    no padding, so ``high`` may be less than the node says.
    """

    kernel: Pair
    strides: Pair
    dilations: Pair
    low: Pair
    high: Pair
    size: Pair
    result: Pair

    @property
    def padding(self) -> Padding | None:
        """The padding by which TFLite pads just so; None where it needs an operator of its own.

        SAME puts the smaller half in front, which is what PyTorch's symmetric padding differs
        from at stride 2.
        """
        if self.low == (0, 0) and self.high == (0, 0):
            return Padding.VALID
        for axis in (0, 1):
            reach = self.dilations[axis] * (self.kernel[axis] - 1) + 1
            total = max(0, (self.result[axis] - 1) * self.strides[axis] + reach - self.size[axis])
            expected = (total // 2, total - total // 2)
            if (self.low[axis], self.high[axis]) != expected:
                return None
            if self.result[axis] != -(-self.size[axis] // self.strides[axis]):
                return None
        return Padding.SAME


@dataclass(frozen=True)
class Extents:
    """A window of any rank: what :class:`Window` is for two dimensions."""

    strides: Shape
    dilations: Shape
    low: Shape
    high: Shape
    size: Shape
    result: Shape


def extents(ctx: NodeLowering, kernel: Sequence[int]) -> Extents:
    """The window of a Conv or pool node over its first input, for each spatial dimension."""
    spatial = ctx.shape(0)[2:]
    result = ctx.result_shape[2:]
    windows = Windows.of_node(ctx.node, kernel)
    low = windows.front(spatial, result)
    needed = windows.needed(spatial, result)
    high = tuple(max(0, total - before) for total, before in zip(needed, low, strict=True))
    return Extents(windows.strides, windows.dilations, low, high, spatial, result)


def window(ctx: NodeLowering, kernel: Sequence[int]) -> Window:
    """Compute the window of a Conv or pool node over its first input.

    One spatial dimension becomes two, with a height of 1.

    Raises:
        UnsupportedOperator: There are more than two spatial dimensions.
    """
    rank = len(ctx.shape(0)) - 2
    if rank not in (1, 2):
        raise ctx.unsupported(
            f"its input has {rank} spatial dimensions", "only 1, 2 and 3 have a TFLite form"
        )
    found = extents(ctx, kernel)
    return Window(
        _pair(kernel, 1),
        _pair(found.strides, 1),
        _pair(found.dilations, 1),
        _pair(found.low, 0),
        _pair(found.high, 0),
        _pair(found.size, 1),
        _pair(found.result, 1),
    )


def border_factors(
    ctx: NodeLowering, area: Extents, kernel: Sequence[int], *, include: bool
) -> Array:
    """Elements of a window over those that count at each place, of the spatial shape of the result.

    ``include``: the padding that the node declares counts, as attribute count_include_pad says.
    """
    rank = len(kernel)
    pads = ctx.attributes.get_ints("pads", (0,) * (2 * rank))
    factors = np.ones((1,) * rank)
    for axis in range(rank):
        before, behind = (area.low[axis], pads[axis + rank]) if include else (0, 0)
        first = np.arange(area.result[axis]) * area.strides[axis] - area.low[axis]
        taps = first[:, np.newaxis] + np.arange(kernel[axis]) * area.dilations[axis]
        inside = (taps >= -before) & (taps < area.size[axis] + behind)
        along = [1] * rank
        along[axis] = -1
        factors = factors * (kernel[axis] / inside.sum(axis=1).clip(1)).reshape(along)
    return factors.astype(FLOAT)


def _pair(values: Sequence[int], filler: int) -> Pair:
    return (filler, values[0]) if len(values) == 1 else (values[0], values[1])


def as_map(shape: Shape) -> Shape:
    """N x C x H x W for the shape of a map with one or two spatial dimensions."""
    return shape if len(shape) == 4 else (*shape[:2], 1, shape[2])


def map_input(ctx: NodeLowering) -> Tensor:
    """The first input as N x H x W x C."""
    n, c, h, w = shape = as_map(ctx.shape(0))
    return ctx.builder.arranged(ctx.stored(0), Order.of(shape, CHANNELS_LAST), (n, h, w, c))


def map_result(ctx: NodeLowering) -> tuple[Shape, Order]:
    """Shape and order of the result as N x H x W x C."""
    n, c, h, w = shape = as_map(ctx.result_shape)
    return (n, h, w, c), Order.of(shape, CHANNELS_LAST)


def padded(ctx: NodeLowering, x: Tensor, area: Window) -> Tensor:
    """``x``, N x H x W x C, with the padding of ``area`` around it: zero, or the code for it."""
    return bordered(ctx, x, _paddings(area))


def padded_with_lowest(ctx: NodeLowering, x: Tensor, area: Window) -> Tensor:
    """``x`` with the lowest number of its type around it, which no maximum sees."""
    lowest = np.array(-128, np.int8) if ctx.integer else np.array(np.finfo("f4").min, "f4")
    return bordered(ctx, x, _paddings(area), lowest)


def _paddings(area: Window) -> Pairs:
    return (0, 0), (area.low[0], area.high[0]), (area.low[1], area.high[1]), (0, 0)
