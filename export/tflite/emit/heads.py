"""A matrix product whose result attention takes apart into heads.

Queries, keys and values come out of one product as tokens x (3 x heads x depth), and attention
wants heads x tokens x depth. As one BATCH_MATMUL with the columns of each head as a matrix of
their own the product writes them so at once: three transposes less, at the same number of
multiplications (197 tokens, 3 heads of 64, on a Cortex-A72: 17.05 to 16.99 million instructions
for the whole attention).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from edgeconv.export.tflite.builder import Constant, Stored
from edgeconv.export.tflite.channel_order import next_transpose
from edgeconv.export.tflite.layout import Order, Shape, identity
from edgeconv.export.tflite.node_lowering import NodeLowering


@dataclass(frozen=True)
class Heads:
    """How attention takes a product apart.

    The product has groups x tokens rows and heads x depth columns; attention reads it as
    groups x heads x tokens x depth.
    """

    groups: int
    tokens: int
    heads: int
    depth: int


def heads(ctx: NodeLowering, rows: int, units: int) -> Heads | None:
    """Find out how attention takes the result of a product apart.

    Returns:
        None if nothing does, or if the operands do not allow to write it so.
    """
    constant = all(isinstance(ctx.held(index), Constant) for index in (1, 2) if ctx.has(index))
    following = next_transpose(ctx.result)
    if ctx.integer or not constant or following is None:
        return None
    return heads_of(*following, rows=rows, units=units)


def heads_of(shape: Shape, perm: tuple[int, ...], *, rows: int, units: int) -> Heads | None:
    """The heads that a transpose of ``shape``, which holds rows x units, brings to the front."""
    boundary = next(axis for axis in range(len(shape) + 1) if prod(shape[:axis]) >= rows)
    if prod(shape[:boundary]) != rows or not 0 < boundary < len(shape):
        return None
    token, last = boundary - 1, len(shape) - 1
    if {*perm[-2:]} != {token, last} or units == shape[last]:
        return None
    return Heads(rows // shape[token], shape[token], units // shape[last], shape[last])


def emit_heads(ctx: NodeLowering, source: Stored, found: Heads, *, units_first: bool) -> None:
    """Emit BATCH_MATMUL, and ADD for the bias if there is one.

    Args:
        ctx: The node, a product.
        source: The input, a matrix of rows x inputs.
        found: How the result is taken apart.
        units_first: Input 1 is units x inputs, not inputs x units.
    """
    builder = ctx.builder
    weight = ctx.demand_constant(1, "weight")
    weight = weight.T if units_first else weight
    inputs = len(weight)
    rows = found.groups * found.tokens
    split = weight.reshape(inputs, found.heads, found.depth).transpose(1, 0, 2)
    name = ctx.value(1).name or f"{ctx.name}/weight"
    lead = () if found.groups == 1 else (found.groups, 1)
    plain = Order.of((rows, inputs), identity(2))
    x = builder.arranged(source, plain, (*(lead or (1,)), found.tokens, inputs))
    operands = [x, builder.constant(split, name)]
    shape = (*lead[:1], found.heads, found.tokens, found.depth)
    order = Order.of((found.groups, found.tokens, found.heads, found.depth), (0, 2, 1, 3))
    if not ctx.has(2):
        ctx.emit_stored("BATCH_MATMUL", operands, shape, order)
        return
    product = ctx.fresh("product", shape)
    builder.emit("BATCH_MATMUL", operands, [product])
    bias = ctx.demand_constant(2, "bias").reshape(found.heads, 1, found.depth)
    addend = builder.constant(bias, ctx.value(2).name or f"{ctx.name}/bias")
    ctx.emit_stored("ADD", [product, addend], shape, order)
