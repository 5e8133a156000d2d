"""Operators on the bits of integers, and ReverseSequence."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.emit.elementwise import binary
from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import decomposition_of, operator


def of_whole_words(call: Call) -> bool:
    """Select nodes whose first input is not of one byte per element."""
    return not call.takes(ir.DataType.INT8, ir.DataType.UINT8)


@operator("BitwiseXor")
def bitwise_xor(ctx: NodeLowering) -> None:
    """BITWISE_XOR."""
    binary(ctx, "BITWISE_XOR")


@decomposition_of("BitwiseNot", when=of_whole_words)
def bitwise_not(f: Decomposer) -> list[ir.Value]:
    """-1 - x."""
    x = f.input(0)
    assert x.dtype is not None
    return [f("Sub", np.array(-1, x.dtype.numpy()), x)]


def _of_short_words(call: Call) -> bool:
    return of_whole_words(call) and not call.takes(ir.DataType.INT64)


@decomposition_of("BitwiseAnd", "BitwiseOr", when=_of_short_words)
def bitwise(f: Decomposer) -> list[ir.Value]:
    """Half of x + y - (x xor y) for And, that plus (x xor y) for Or.

    The halves are computed separately, so that nothing overflows.
    """
    x, y = f.input(0), f.input(1)
    if x.dtype != ir.DataType.INT32:
        raise f.unsupported("its numbers are not int32", "cast them to int32")
    two = np.array(2, np.int32)
    differ = f("BitwiseXor", x, y)
    rests = [f("Mod", item, two) for item in (x, y, differ)]
    halves = [
        f("Div", f("Sub", item, rest), two)
        for item, rest in zip((x, y, differ), rests, strict=True)
    ]
    lowest = f("Mul", rests[0], rests[1])
    both = f("Sub", f("Add", f("Add", halves[0], halves[1]), lowest), halves[2])
    return [both if f.op_type == "BitwiseAnd" else f("Add", both, differ)]


@decomposition_of("BitShift", when=of_whole_words)
def bit_shift(f: Decomposer) -> list[ir.Value]:
    """RIGHT_SHIFT, or a MUL with a power of two.

    A distance that no bit survives counts as the width of the type.
    """
    x, distance = f.input(0), f.input(1)
    assert x.dtype is not None
    dtype = x.dtype.numpy()
    width = 8 * dtype.itemsize
    right = f.attributes.get_string("direction", "") == "RIGHT"
    if right and x.dtype != ir.DataType.INT32:
        raise f.unsupported("its numbers are not int32", "cast them to int32")
    limit = np.array(width - 1 if right else width, dtype)
    beyond = f("Less", distance, np.zeros((), dtype))
    limited = f("Where", beyond, limit, f("Min", distance, limit))
    if right:
        return [f("BitShift", x, limited, direction="RIGHT")]
    powers = np.array([1 << place for place in range(width)] + [0], f"u{dtype.itemsize}")
    return [f("Mul", x, f("Gather", powers.view(dtype), limited))]


@operator("BitShift")
def right_shift(ctx: NodeLowering) -> None:
    """RIGHT_SHIFT."""
    binary(ctx, "RIGHT_SHIFT")


@operator("BitCast")
def bit_cast(ctx: NodeLowering) -> None:
    """BITCAST."""
    stored = ctx.stored(0)
    ctx.emit_stored("BITCAST", [stored.tensor], stored.tensor.shape, stored.order)


@operator("ReverseSequence")
def reverse_sequence(ctx: NodeLowering) -> None:
    """REVERSE_SEQUENCE."""
    options = {
        "seqDim": ctx.attributes.get_int("time_axis", 0),
        "batchDim": ctx.attributes.get_int("batch_axis", 1),
    }
    ctx.emit("REVERSE_SEQUENCE", [ctx.tensor(0), ctx.tensor(1)], None, {**options})
