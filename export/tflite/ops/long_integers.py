"""Operators on int64 that TFLite computes in int32, or in float, only."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import known_array
from edgeconv.export.tflite.integer_bounds import bounds_of
from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.registry import decomposition_of

FLOAT = int(ir.DataType.FLOAT)
INT32, INT64 = ir.DataType.INT32, ir.DataType.INT64
Results = list[ir.Value]

_HIGH = np.int64(1 << 32)
"""The lowest one of the upper 32 bits."""
_EXPONENT_BITS = 6
"""A power of a number above one leaves int64 before its exponent has more."""
_OPTIONS = {"keepdims": 1, "select_last_index": 0}
"""The attributes of ArgMax and ArgMin beside the axis, with their defaults."""


def of_long_integers(call: Call) -> bool:
    """Select nodes whose first input is int64."""
    return call.takes(INT64)


@decomposition_of("Div", when=of_long_integers)
def divide(f: Decomposer) -> Results:
    """DIV on int32 where both operands fit into it for sure; else see :func:`quotient`."""
    x, y = f.input(0), f.input(1)
    if bounds_of(x).fit_in_32_bits and bounds_of(y).fit_in_32_bits:
        narrow = [f("Cast", value, to=int(INT32)) for value in (x, y)]
        return [f("Cast", f.again(narrow), to=int(INT64))]
    zero = np.int64(0)
    rest = f("Mod", x, y)  # has the sign of the divisor, as of a quotient that is rounded down
    is_negative = f("Xor", f("Less", x, zero), f("Less", y, zero))
    is_beyond = f("And", is_negative, f("Not", f("Equal", rest, zero)))
    rest = f("Where", is_beyond, f("Sub", rest, y), rest)
    return [quotient(f, f("Sub", x, rest), y)]


def quotient(f: Decomposer, x: ir.Value, y: ir.Value | np.int64) -> ir.Value:
    """The quotient of int64 by a divisor of it.

    A quotient in float32 is off by 2^-22 at most, and the quotient of what is left corrects it:
    that of 2^63 is off by 2^41, by 2^19 and by nothing.
    """
    left = x
    result: ir.Value | None = None
    by = f("Cast", y, to=FLOAT) if isinstance(y, ir.Value) else np.float32(y)
    for _ in range(3):
        if result is not None:
            left = f("Sub", x, f("Mul", result, y))
        part = f("Round", f("Div", f("Cast", left, to=FLOAT), by))
        whole = f("Cast", part, to=int(INT64))
        result = whole if result is None else f("Add", result, whole)
    assert result is not None
    return result


def _is_not_a_product(call: Call) -> bool:
    """Whether it is another power than a square or a cube, which are products."""
    if not of_long_integers(call):
        return False
    exponent = known_array(call.input(1))
    return exponent is None or exponent.size != 1 or exponent.item() not in (2, 3)


@decomposition_of("Pow", when=_is_not_a_product)
def power(f: Decomposer) -> Results:
    """The product of x, x², x⁴, … for those bits that the exponent has."""
    x, exponent = f.input(0), f.input(1)
    known = f.known(1)
    if known is not None and known.dtype.kind == "f":
        raise f.unsupported("its exponent is no integer", "cast the base to float32")
    bits = _EXPONENT_BITS if known is None else max(1, int(known.max(initial=0)).bit_length())
    narrow = f("Cast", exponent, to=int(INT32))
    factor, result = x, None
    for bit in range(min(bits, _EXPONENT_BITS)):
        shifted = f("Div", narrow, np.int32(1 << bit)) if bit else narrow
        is_set = f("Equal", f("Mod", shifted, np.int32(2)), np.int32(1))
        factor = f("Mul", factor, factor) if bit else factor
        chosen = f("Where", is_set, factor, np.int64(1))
        result = chosen if result is None else f("Mul", result, chosen)
    assert result is not None
    return [result]


@decomposition_of("ArgMax", "ArgMin", when=of_long_integers)
def place_of_extreme(f: Decomposer) -> Results:
    """The place of a true element among those that say whether they equal the extreme."""
    x = f.input(0)
    if bounds_of(x).fit_in_32_bits:
        return [f.again([f("Cast", x, to=int(INT32))])]
    reduce = "ReduceMax" if f.op_type == "ArgMax" else "ReduceMin"
    axis = f.attributes.get_int("axis", 0)
    extreme = f(reduce, x, [axis], keepdims=1)
    is_extreme = f("Cast", f("Equal", x, extreme), to=int(INT32))
    options = {name: f.attributes.get_int(name, default) for name, default in _OPTIONS.items()}
    return [f("ArgMax", is_extreme, axis=axis, **options)]


@decomposition_of("BitwiseAnd", "BitwiseOr", "BitwiseXor", when=of_long_integers)
def bitwise(f: Decomposer) -> Results:
    """The same operator on the lower and on the upper 32 bits; of And with the lowest bits Mod."""
    x, y = f.input(0), f.input(1)
    mask = f.known(1)
    if f.op_type == "BitwiseAnd" and mask is not None and mask.size == 1:
        bits = int(mask.item())
        if bits >= 0 and bits & (bits + 1) == 0 and bits < 1 << 62:
            return [f("Mod", x, np.int64(bits + 1))]
    lows = [f("Cast", value, to=int(INT32)) for value in (x, y)]
    rests = [f("Sub", value, f("Mod", value, _HIGH)) for value in (x, y)]
    highs = [f("Cast", quotient(f, rest, _HIGH), to=int(INT32)) for rest in rests]
    low, high = (f("Cast", f.again(pair), to=int(INT64)) for pair in (lows, highs))
    return [f("Add", f("Mul", high, _HIGH), f("Mod", low, _HIGH))]
