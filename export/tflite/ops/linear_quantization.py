"""QLinearConv, QLinearMatMul and the like, which compute with quantized values.

They become the same operators on real numbers, between DequantizeLinear and QuantizeLinear.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.registry import decomposition_of

FLOAT, INT32 = int(ir.DataType.FLOAT), int(ir.DataType.INT32)
WINDOW = "strides", "pads", "dilations", "kernel_shape"
EXACT = 2**24
"""Whole numbers up to here are exact in float32."""

Results = list[ir.Value]


def _window(f: Decomposer) -> dict[str, int | str | list[int]]:
    """The attributes of a convolution."""
    lists = {
        name: list(f.attributes.get_ints(name, ()))
        for name in WINDOW
        if f.attributes.get_ints(name, ())
    }
    return {
        **lists,
        "group": f.attributes.get_int("group", 1),
        "auto_pad": f.attributes.get_string("auto_pad", "NOTSET"),
    }


@decomposition_of("QLinearConv")
def qlinear_conv(f: Decomposer) -> Results:
    """Conv between DequantizeLinear and QuantizeLinear."""
    x = f("DequantizeLinear", f.input(0), f.input(1), f.input(2), axis=1)
    weight = f("DequantizeLinear", f.input(3), f.input(4), f.input(5), axis=0)
    operands = [x, weight]
    if not f.missing(8):
        scale = f("Mul", f.input(1), f.input(4))
        operands.append(f("DequantizeLinear", f.input(8), scale, axis=0))
    y = f("Conv", *operands, **_window(f))
    return [f("QuantizeLinear", y, f.input(6), f.input(7))]


@decomposition_of("QLinearMatMul")
def qlinear_matmul(f: Decomposer) -> Results:
    """MatMul between DequantizeLinear and QuantizeLinear."""
    a = f("DequantizeLinear", f.input(0), f.input(1), f.input(2), axis=-2)
    b = f("DequantizeLinear", f.input(3), f.input(4), f.input(5), axis=-1)
    return [f("QuantizeLinear", f("MatMul", a, b), f.input(6), f.input(7))]


def _centered(f: Decomposer, index: int, axis: int) -> ir.Value:
    """A byte input less its zero point, in float32."""
    x = f("Cast", f.input(index), to=FLOAT)
    if f.missing(index + 2):
        return x
    zero = f("Cast", f.input(index + 2), to=FLOAT)
    shape = [1] * len(f.shape(f.input(index)))
    if np.prod(f.shape(f.input(index + 2))) > 1:
        shape[axis] = -1
    return f("Sub", x, f("Reshape", zero, shape))


def _refuse_inexact(f: Decomposer, depth: int) -> None:
    if depth * 255 * 255 > EXACT:
        raise f.unsupported(
            f"its sums of {depth} products of bytes are not exact in float32",
            "quantize it as QLinearConv or QLinearMatMul, with a scale for its result",
        )


@decomposition_of("ConvInteger")
def conv_integer(f: Decomposer) -> Results:
    """Conv in float32, which is exact for short sums."""
    _refuse_inexact(f, int(np.prod(f.shape(f.input(1))[1:])))
    y = f("Conv", _centered(f, 0, 1), _centered(f, 1, 0), **_window(f))
    return [f("Cast", y, to=INT32)]


@decomposition_of("MatMulInteger")
def matmul_integer(f: Decomposer) -> Results:
    """MatMul in float32, which is exact for short sums."""
    _refuse_inexact(f, f.shape(f.input(0))[-1])
    y = f("MatMul", _centered(f, 0, -2), _centered(f, 1, -1))
    return [f("Cast", y, to=INT32)]
