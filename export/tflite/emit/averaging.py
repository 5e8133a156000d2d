"""An int8 average pool as a depthwise convolution.

TFLite's AVERAGE_POOL_2D has no int8 form in XNNPACK and rounds halves away from zero, where ONNX
Runtime rounds them to even: an eighth of the results of a 2x2 pool differ by one. The convolution
rounds as ONNX does, and on a Cortex-A72 takes a half to a third of the instructions (28x28x128,
millions: 2x2 0.34 to 0.18, 3x3 at stride 1 1.58 to 0.57, 5x5 2.52 to 1.18). Above 25 elements
XNNPACK has no depthwise kernel of one pass (7x7 at stride 7: 0.13 to 2.64).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from edgeconv.export.tflite.builder import INT8
from edgeconv.export.tflite.emit.windows import Pair, Window, map_result
from edgeconv.export.tflite.graph import ChannelQuantization, Options, Padding, Quantization, Tensor
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.qdq import targets

MOST_ELEMENTS = 25
"""The largest int8 depthwise kernel that XNNPACK runs in one pass."""


def averages_by_convolution(ctx: NodeLowering, area: Window) -> bool:
    """Whether the pool of ``area`` is better a convolution."""
    return ctx.integer and prod(area.kernel) <= MOST_ELEMENTS


def emit_average(ctx: NodeLowering, x: Tensor, area: Window) -> None:
    """The means of ``x``, N x H x W x C with its padding, as the node's result.

    They have the scale that the graph states for them, if it states one.
    """
    operands, options = averaging(ctx, x, area.kernel, area.strides)
    stated = targets(ctx.result, ctx.builder)
    own = stated.pop() if len(stated) == 1 else None
    ctx.emit_stored("DEPTHWISE_CONV_2D", operands, *map_result(ctx), options, own)


def averaging(
    ctx: NodeLowering, x: Tensor, kernel: Pair, strides: Pair
) -> tuple[Sequence[Tensor], Options]:
    """Make the operands and options of a DEPTHWISE_CONV_2D that gives the means of ``x``.

    Every weight is the quantized value 1 with the scale 1 / (kernel elements).
    """
    assert isinstance(x.quantization, Quantization)
    channels = x.shape[-1]
    scales = np.full(channels, 1 / prod(kernel), np.float32)
    ones = np.ones((1, *kernel, channels), INT8)
    weight = ctx.builder.constant(ones, f"{ctx.name}/ones", ChannelQuantization(scales, 3))
    products = np.float32(x.quantization.scale) * scales
    zeros = np.zeros(channels, np.int32)
    bias = ctx.builder.constant(zeros, f"{ctx.name}/zeros", ChannelQuantization(products, 0))
    options: Options = {
        "padding": Padding.VALID,
        "strideH": strides[0],
        "strideW": strides[1],
        "depthMultiplier": 1,
    }
    return (x, weight, bias), options
