"""Operators on integers that TFLite has only for real numbers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import known_array
from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.ops.long_integers import of_long_integers
from edgeconv.export.tflite.registry import decomposition_of
from edgeconv.export.traits import Trait, operators

FLOAT = int(ir.DataType.FLOAT)
INT32, INT64 = ir.DataType.INT32, ir.DataType.INT64
BYTES = ir.DataType.INT8, ir.DataType.UINT8
Results = list[ir.Value]

COMPARISONS = "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"
ON_BYTES = (
    *("Add", "Sub", "Mul", "Div", "Mod", "Pow", "Max", "Min", "Clip", "Relu", "PRelu"),
    *("Neg", "Abs", "Sign", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"),
    "BitShift",
    *("ReduceSum", "ReduceProd", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare"),
)

MOVED_WIDE = (
    *("Concat", "Expand", "Gather", "GatherElements", "GatherND", "Pad", "Slice", "Split", "Tile"),
    *("DepthToSpace", "SpaceToDepth", "ScatterElements", "ScatterND"),
)
_MOVING = operators(Trait.MOVES)


def of_integers(call: Call) -> bool:
    """Select nodes whose first input is int32 or int64."""
    return call.takes(INT32, INT64)


def of_bytes(call: Call) -> bool:
    """Select nodes whose first input is int8 or uint8."""
    return call.takes(*BYTES)


@decomposition_of(*ON_BYTES, *COMPARISONS, when=of_bytes)
def on_bytes(f: Decomposer) -> Results:
    """The same operator on int32, and a CAST of its result.

    TFLite takes bytes for quantized values.
    """
    x = f.input(0)
    assert x.dtype is not None
    wide = [
        f("Cast", value, to=int(INT32)) if value is not None and value.dtype in BYTES else value
        for value in f.inputs
    ]
    result = f.again(wide)
    return [result if f.op_type in COMPARISONS else f("Cast", result, to=int(x.dtype))]


@decomposition_of("Where", when=lambda call: call.input(1).dtype in BYTES)
def where_of_bytes(f: Decomposer) -> Results:
    """Where on int32, and a CAST of its result."""
    yes, no = (f("Cast", f.input(index), to=int(INT32)) for index in (1, 2))
    dtype = f.input(1).dtype
    assert dtype is not None
    return [f("Cast", f.again([f.input(0), yes, no]), to=int(dtype))]


@decomposition_of(
    "BitCast", when=lambda call: call.attributes.get_int("to", 0) in {int(item) for item in BYTES}
)
def bit_cast_to_bytes(f: Decomposer) -> Results:
    """A CAST, which keeps the eight bits."""
    return [f("Cast", f.input(0), to=f.attributes.get_int("to", 0))]


def _of_bare_bytes(call: Call) -> bool:
    """Whether the first input is of bytes that no QuantizeLinear made, which have no scale."""
    if not of_bytes(call):
        return False
    node = call.input(0).producer()
    while node is not None and node.op_type != "QuantizeLinear":
        first = node.inputs[0] if node.inputs else None
        node = None if first is None else first.producer()
    return node is None


@decomposition_of("MaxPool", when=_of_bare_bytes)
def max_pool_of_bytes(f: Decomposer) -> Results:
    """MaxPool on float32, and a CAST of its result."""
    x = f.input(0)
    assert x.dtype is not None
    return [f("Cast", f.again([f("Cast", x, to=FLOAT)]), to=int(x.dtype))]


@decomposition_of("ReduceMax", "ReduceMin", when=_of_bare_bytes)
def extreme_of_bytes(f: Decomposer) -> Results:
    """The same operator on int32, and a CAST of its result."""
    x = f.input(0)
    assert x.dtype is not None
    wide = f("Cast", x, to=int(INT32))
    return [f("Cast", f.again([wide, *f.inputs[1:]]), to=int(x.dtype))]


def _moves_bare_bytes(call: Call) -> bool:
    """Whether the bytes have no scale, and no DequantizeLinear gives them one later."""
    return _of_bare_bytes(call) and not _gets_a_scale(call.node.outputs[0])


def _gets_a_scale(value: ir.Value) -> bool:
    return any(
        node.op_type == "DequantizeLinear"
        or (node.op_type in _MOVING and any(map(_gets_a_scale, node.outputs)))
        for node in value.consumers()
    )


@decomposition_of(*MOVED_WIDE, when=_moves_bare_bytes)
def move_bytes(f: Decomposer) -> Results:
    """The same operator on int32, and a CAST of its results.

    TFLite's kernels would take, and give, bytes for quantized values.
    """
    dtype = f.input(0).dtype
    assert dtype is not None
    wide = [
        f("Cast", value, to=int(INT32)) if value is not None and value.dtype in BYTES else value
        for value in f.inputs
    ]
    return [f("Cast", result, to=int(dtype)) for result in f.again_all(wide)]


@decomposition_of("TopK", when=_of_bare_bytes)
def largest_bytes(f: Decomposer) -> Results:
    """The same operator on int32, and a CAST of its values."""
    x = f.input(0)
    assert x.dtype is not None
    values, places = f.again_all([f("Cast", x, to=int(INT32)), *f.inputs[1:]])
    return [f("Cast", values, to=int(x.dtype)), places]


@decomposition_of("ArgMax", "ArgMin", when=_of_bare_bytes)
def place_of_extreme_of_bytes(f: Decomposer) -> Results:
    """The same operator on int32."""
    return [f.again([f("Cast", f.input(0), to=int(INT32))])]


def _zero(x: ir.Value) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    assert x.dtype is not None
    return np.zeros((), x.dtype.numpy())


@decomposition_of("Relu", when=of_integers)
def relu(f: Decomposer) -> Results:
    """The maximum of x and 0."""
    x = f.input(0)
    return [f("Max", x, _zero(x))]


def _of_integers_or_computed_bounds(call: Call) -> bool:
    bounds = call.inputs[1:3]
    return of_integers(call) or any(
        value is not None and known_array(value) is None for value in bounds
    )


@decomposition_of("Clip", when=_of_integers_or_computed_bounds)
def clip(f: Decomposer) -> Results:
    """Max and Min with the bounds."""
    x = f.input(0)
    if not f.missing(1):
        x = f("Max", x, f.input(1))
    if not f.missing(2):
        x = f("Min", x, f.input(2))
    return [x]


@decomposition_of("PRelu", when=of_integers)
def prelu(f: Decomposer) -> Results:
    """Where x is negative, x times the slope; else x."""
    x = f.input(0)
    return [f("Where", f("Less", x, _zero(x)), f("Mul", x, f.input(1)), x)]


def _magnitude(f: Decomposer, x: ir.Value) -> ir.Value:
    return f("Max", x, f("Neg", x))


@decomposition_of("Abs", when=of_long_integers)
def absolute(f: Decomposer) -> Results:
    """The maximum of x and -x."""
    return [_magnitude(f, f.input(0))]


@decomposition_of("Sign", when=of_long_integers)
def sign(f: Decomposer) -> Results:
    """(x > 0) - (x < 0)."""
    x, long = f.input(0), int(INT64)
    above, below = f("Greater", x, _zero(x)), f("Less", x, _zero(x))
    return [f("Sub", f("Cast", above, to=long), f("Cast", below, to=long))]


def _axes(f: Decomposer) -> list[ir.Value | list[int]]:
    """The axes of a reduction: an input since opset 18, an attribute before."""
    if not f.missing(1):
        return [f.input(1)]
    stated = f.attributes.get_ints("axes", ())
    return [list(stated)] if stated else []


def _options(f: Decomposer) -> dict[str, int]:
    return {name: f.attributes.get_int(name, default) for name, default in KEPT.items()}


KEPT = {"keepdims": 1, "noop_with_empty_axes": 0}


@decomposition_of("ReduceL1", when=of_long_integers)
def reduce_l1(f: Decomposer) -> Results:
    """SUM of the magnitudes."""
    return [f("ReduceSum", _magnitude(f, f.input(0)), *_axes(f), **_options(f))]


@decomposition_of("ReduceL2", when=of_integers)
def reduce_l2(f: Decomposer) -> Results:
    """ReduceL2 on float32, truncated to an integer."""
    x = f.input(0)
    assert x.dtype is not None
    norm = f("ReduceL2", f("Cast", x, to=FLOAT), *_axes(f), **_options(f))
    return [f("Cast", norm, to=int(x.dtype))]


@decomposition_of("MatMul", when=of_integers)
def matmul(f: Decomposer) -> Results:
    """SUM of products: TFLite multiplies matrices of real numbers only."""
    x, y = f.input(0), f.input(1)
    left = x if len(f.shape(x)) > 1 else f("Unsqueeze", x, [0])
    right = y if len(f.shape(y)) > 1 else f("Unsqueeze", y, [1])
    products = f("Mul", f("Unsqueeze", left, [-1]), f("Unsqueeze", right, [-3]))
    dropped = [-2]
    if left is not x:
        dropped.append(-3)
    if right is not y:
        dropped.append(-1)
    return [f("ReduceSum", products, dropped, keepdims=0)]
