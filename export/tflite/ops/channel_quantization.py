"""QuantizeLinear and DequantizeLinear of activations with a scale per channel.

TFLite has such scales only for weights, so the two are written as the arithmetic that they are.
"""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.registry import decomposition_of


def _per_channel(call: Call) -> bool:
    shape = None if call.missing(1) else call.input(1).shape
    return (
        shape is not None
        and shape.is_static()
        and prod(shape.numpy()) > 1
        and not call.attributes.get_int("block_size", 0)
    )


def _along(f: Decomposer) -> list[int]:
    """The shape in which scales and zero points broadcast to the first input."""
    rank = len(f.shape(f.input(0)))
    shape = [1] * rank
    shape[f.attributes.get_int("axis", 1) % rank] = -1
    return shape


def _zero_points(f: Decomposer) -> ir.Value:
    zeros = f.input(2) if not f.missing(2) else f("Identity", np.zeros(1, np.float32))
    return f("Reshape", f("Cast", zeros, to=int(ir.DataType.FLOAT)), _along(f))


@decomposition_of("DequantizeLinear", when=_per_channel)
def dequantize(f: Decomposer) -> list[ir.Value]:
    """(x - zero point) * scale, with a scale per channel."""
    centered = f("Sub", f("Cast", f.input(0), to=int(ir.DataType.FLOAT)), _zero_points(f))
    return [f("Mul", centered, f("Reshape", f.input(1), _along(f)))]


@decomposition_of("QuantizeLinear", when=_per_channel)
def quantize(f: Decomposer) -> list[ir.Value]:
    """round(x / scale) + zero point, with a scale per channel, limited to the type."""
    dtype = ir.DataType.UINT8 if f.missing(2) else f.input(2).dtype
    if dtype not in (ir.DataType.INT8, ir.DataType.UINT8):
        raise f.unsupported("its result is not int8 or uint8", "quantize to one of them")
    limits = np.iinfo(dtype.numpy())
    steps = f("Round", f("Div", f.input(0), f("Reshape", f.input(1), _along(f))))
    codes = f("Clip", f("Add", steps, _zero_points(f)), float(limits.min), float(limits.max))
    return [f("Cast", codes, to=int(dtype))]
