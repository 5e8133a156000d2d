"""Operators on elements of several operands that broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

import numpy as np

from edgeconv.export.tflite.builder import FLOAT, Constant, Stored
from edgeconv.export.tflite.graph import Array, Options, Tensor
from edgeconv.export.tflite.layout import Order, Perm, Shape, permuted
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.ops.activation import leaky, unary
from edgeconv.export.tflite.ops.indexing import own_perm
from edgeconv.export.tflite.registry import Integer, operator

ARITHMETIC = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL"}
EXTREMES = {"Max": "MAXIMUM", "Min": "MINIMUM"}
COMPARISONS = {
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
}
# Millions of instructions for two maps of 28x28x128 on a Cortex-A72: 1.84 and 0.34.
SLOW_COMPARISON = "TFLite's int8 kernel rescales each element, which is slower than float"
LOGICAL = {"And": "LOGICAL_AND", "Or": "LOGICAL_OR", "Xor": "NOT_EQUAL"}


def aligned(ctx: NodeLowering, indices: Sequence[int]) -> tuple[list[Tensor], Shape, Order]:
    """Inputs of a node in one order, ready to broadcast, and shape and order of the result.

    The order is one in which an input already is, so that the others move, constants for free.
    """
    shapes = [ctx.shape(index) for index in indices]
    stored = [ctx.stored(index) for index in indices]
    known = [isinstance(ctx.held(index), Constant) for index in indices]
    if len(set(shapes)) == 1:
        leader = _leader(stored, known)
        shape = leader.tensor.shape
        tensors = [ctx.builder.arranged(item, leader.order, shape) for item in stored]
        return tensors, shape, leader.order
    result = np.broadcast_shapes(*shapes)
    perm = _broadcast_perm(shapes, stored, known, result)
    tensors = [
        _extended(ctx, item, shape, perm) for item, shape in zip(stored, shapes, strict=True)
    ]
    return tensors, permuted(result, perm), Order.of(result, perm)


def _leader(stored: Sequence[Stored], known: Sequence[bool]) -> Stored:
    """The operand whose order the others take: one that is not constant, and rather one that was
    moved out of the plain order, which its neighbors had a reason for.
    """
    ranked = sorted(
        zip(stored, known, strict=True), key=lambda item: (item[1], item[0].order.is_identity)
    )
    return ranked[0][0]


def _broadcast_perm(
    shapes: Sequence[Shape], stored: Sequence[Stored], known: Sequence[bool], result: Shape
) -> Perm:
    """The order of axes of the largest operand that is not constant; among equals, of one that
    is not in the plain order.
    """
    ranked = sorted(
        zip(shapes, stored, known, strict=True),
        key=lambda item: (item[2], -prod(item[0]), item[1].order.is_identity),
    )
    shape, item, _ = ranked[0]
    return item.order.nearest_perm(_padded(shape, len(result)))


def _extended(ctx: NodeLowering, item: Stored, shape: Shape, perm: Perm) -> Tensor:
    """An operand with the rank of the result. Constants drop leading ones again."""
    tensor = ctx.builder.placed(item, _padded(shape, len(perm)), perm)
    if tensor.data is not None:
        lead = next((axis for axis, size in enumerate(tensor.shape) if size != 1), len(perm))
        tensor = ctx.builder.reshape(tensor, tensor.shape[min(lead, max(0, len(perm) - 1)) :])
    return tensor


def _padded(shape: Shape, rank: int) -> Shape:
    return (1,) * (rank - len(shape)) + shape


def binary(ctx: NodeLowering, name: str) -> None:
    """Emit an operator of two operands."""
    tensors, shape, order = aligned(ctx, (0, 1))
    ctx.emit_stored(name, tensors, shape, order)


for _onnx, _tflite in ARITHMETIC.items():
    operator(_onnx, integer=Integer.COMPUTES, fuses=True)(partial(binary, name=_tflite))
for _onnx, _tflite in COMPARISONS.items():
    operator(_onnx, reason=SLOW_COMPARISON)(partial(binary, name=_tflite))
for _onnx, _tflite in LOGICAL.items():
    operator(_onnx)(partial(binary, name=_tflite))


@operator("Div", integer=Integer.COMPUTES, fuses=True)
def div(ctx: NodeLowering) -> None:
    """DIV, which has no int8 kernel; by one number it is MUL."""
    divisor = ctx.constant(1)
    if ctx.dtype == np.dtype("int64"):
        raise ctx.unsupported("DIV has no kernel for int64", "cast its inputs to int32")
    if ctx.integer and not (divisor is not None and divisor.size == 1 and divisor.item() != 0):
        ctx.refuse_integer("TFLite divides by nothing but a constant number in integers")
    if divisor is None or divisor.size != 1 or ctx.dtype != FLOAT or not ctx.integer:
        binary(ctx, "DIV")
        return
    factor = ctx.exact_codes(np.asarray(1 / divisor, FLOAT).reshape(()), "factor")
    stored = ctx.stored(0)
    x = stored.tensor
    ctx.emit_stored("MUL", [x, factor], x.shape, stored.order)


@operator("PRelu", integer=Integer.COMPUTES)
def prelu(ctx: NodeLowering) -> None:
    """PRELU in float, whose slopes have no batch dimension; LEAKY_RELU where they are one number,
    in int8 a table. 28x28x128 on a Cortex-A72 takes millions of instructions: PRELU in float with
    DEQUANTIZE and QUANTIZE 0.47, its int8 kernel 5.22.
    """
    slopes = ctx.constant(1)
    if slopes is not None and np.all(slopes == slopes.flat[0]):
        leaky(ctx, float(slopes.flat[0]))
        return
    ctx.refuse_integer("its slopes differ, and TFLite's int8 kernel is slower than float")
    tensors, shape, order = aligned(ctx, (0, 1))
    ctx.emit_stored("PRELU", tensors, shape, order)


def _extreme(ctx: NodeLowering, name: str) -> None:
    """MAXIMUM or MINIMUM of any number of operands, in integers all of the result's scale: to
    saturate first and to compare first is the same.
    """
    count = len(ctx.node.inputs)
    tensors, shape, order = aligned(ctx, range(count))
    if ctx.integer:
        tensors = [ctx.builder.quantize(tensor, ctx.wanted) for tensor in tensors]
    _chain(ctx, name, tensors, shape, order)


for _onnx, _tflite in EXTREMES.items():
    operator(_onnx, integer=Integer.COMPUTES)(partial(_extreme, name=_tflite))


@operator("Sum", integer=Integer.COMPUTES, fuses=True)
def sum_(ctx: NodeLowering) -> None:
    """ADDs; in integers of two inputs: nothing states a scale for the sum of some of them."""
    if len(ctx.node.inputs) > 2:
        ctx.refuse_integer("nothing states a scale for the sum of some of its inputs")
    tensors, shape, order = aligned(ctx, range(len(ctx.node.inputs)))
    _chain(ctx, "ADD", tensors, shape, order)


@operator("Mean")
def mean(ctx: NodeLowering) -> None:
    """The sum of the inputs, each times one over their number."""
    count = len(ctx.node.inputs)
    tensors, shape, order = aligned(ctx, range(count))
    share = ctx.builder.constant(np.array(1 / count, FLOAT), f"{ctx.name}/share")
    parts = [ctx.fresh(f"part{index}", tensor.shape) for index, tensor in enumerate(tensors)]
    for tensor, part in zip(tensors, parts, strict=True):
        ctx.builder.emit("MUL", [tensor, share], [part])
    if count == 1:
        ctx.same(0)
    else:
        _chain(ctx, "ADD", parts, shape, order)


def _chain(ctx: NodeLowering, name: str, tensors: list[Tensor], shape: Shape, order: Order) -> None:
    """One operator of two operands after the other."""
    if len(tensors) == 1:
        ctx.same(0)
        return
    first = tensors[0]
    for position, tensor in enumerate(tensors[1:-1]):
        quantization = first.quantization if ctx.integer else None
        grown = np.broadcast_shapes(first.shape, tensor.shape)
        result = ctx.fresh(f"{name.lower()}{position}", grown, quantization)
        ctx.builder.emit(name, [first, tensor], [result])
        first = result
    ctx.emit_stored(name, [first, tensors[-1]], shape, order)


@operator("Where", integer=Integer.COMPUTES)
def where(ctx: NodeLowering) -> None:
    tensors, shape, order = aligned(ctx, (0, 1, 2))
    if ctx.integer:
        tensors[1:] = [ctx.builder.quantize(tensor, ctx.wanted) for tensor in tensors[1:]]
    ctx.emit_stored("SELECT_V2", tensors, shape, order)


@operator("Pow", integer=Integer.COMPUTES)
def pow_(ctx: NodeLowering) -> None:
    """POW, which has no int8 kernel; squares and roots have cheaper forms."""
    exponent = ctx.constant(1)
    number = _single(exponent)
    if number not in (0.5, 1, 2):
        ctx.refuse_integer("TFLite has no integer form of it for other exponents than 1/2, 1 and 2")
    if number == 1:
        ctx.same(0)
    elif number == 0.5:
        unary(ctx, "SQRT")
    elif number in (2, 3):
        stored = ctx.stored(0)
        x = factor = stored.tensor
        if number == 3:
            factor = ctx.fresh("square", x.shape)
            ctx.builder.emit("MUL", [x, x], [factor])
        ctx.emit_stored("MUL", [x, factor], x.shape, stored.order)
    elif ctx.dtype == np.dtype("int64"):
        raise ctx.unsupported("POW has no kernel for int64", "cast its inputs to int32")
    else:
        binary(ctx, "POW")


def _single(array: Array | None) -> float | None:
    return float(array.item()) if array is not None and array.size == 1 else None


@operator("Mod")
def mod(ctx: NodeLowering) -> None:
    """FLOOR_MOD, the sign of which follows the divisor as in ONNX without ``fmod``."""
    binary(ctx, "FLOOR_MOD")


@operator("CumSum")
def cumsum(ctx: NodeLowering) -> None:
    rank = len(ctx.shape(0))
    axis = int(ctx.demand_constant(1, "axis").item()) % rank
    perm = own_perm(ctx)
    options: Options = {
        "exclusive": bool(ctx.attributes.get_int("exclusive", 0)),
        "reverse": bool(ctx.attributes.get_int("reverse", 0)),
    }
    along = ctx.builder.integers(np.array(perm.index(axis)), f"{ctx.name}/axis")
    ctx.emit("CUMSUM", [ctx.tensor(0, perm), along], perm, options)
