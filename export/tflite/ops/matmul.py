"""Matrix products: Gemm and MatMul."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from edgeconv.export.tflite.builder import FLOAT, MOST_DIMENSIONS, Constant, Stored
from edgeconv.export.tflite.channel_order import next_transpose
from edgeconv.export.tflite.emit.heads import emit_heads, heads
from edgeconv.export.tflite.emit.weights import integer_bias, integer_weights, weight_tensor
from edgeconv.export.tflite.graph import Array, Options, Padding, Quantization, Tensor
from edgeconv.export.tflite.layout import Matrix, Order, Perm, Shape, identity
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import Integer, operator


@operator("Gemm", integer=Integer.COMPUTES, fuses=True)
def gemm(ctx: NodeLowering) -> None:
    """FULLY_CONNECTED of alpha * A * B + beta * C, with one row C.

    Any other C is an ADD behind it.
    """
    alpha = ctx.attributes.get_float("alpha", 1.0)
    beta = ctx.attributes.get_float("beta", 1.0)
    rows, units = ctx.result_shape
    addend = 2 if ctx.has(2) and beta else None
    row = addend is not None and prod(ctx.shape(2)) in (1, prod(ctx.shape(2)[-1:]))
    row = row and prod(ctx.shape(2)) in (1, units)
    if alpha != 1 or beta != 1:
        ctx.refuse_integer("alpha or beta is not 1")
    if addend is not None and not (row and isinstance(ctx.held(2), Constant)):
        ctx.refuse_integer("its third input is not one constant row")

    source, depth = _first_operand(ctx)
    rows_first = bool(ctx.attributes.get_int("transB", 0))
    if addend is None or (row and isinstance(ctx.held(2), Constant)):
        plain = alpha == 1 and (addend is None or (beta == 1 and prod(ctx.shape(2)) == units))
        split = heads(ctx, rows, units) if plain else None
        if split is not None:
            emit_heads(ctx, source, split, units_first=rows_first)
            return
        source, matrix = _matrix(ctx, source, rows, depth)
        operands = _dense_operands(ctx, source, matrix, units, rows_first, addend)
        _scale(ctx, operands, alpha, beta)
        _emit_dense(ctx, operands, matrix.with_columns(units))
        return
    source, matrix = _plain_matrix(ctx, source, rows, depth)
    operands = _dense_operands(ctx, source, matrix, units, rows_first, None)
    _scale(ctx, operands, alpha, 1.0)
    product = ctx.fresh("product", (rows, units))
    ctx.builder.emit("FULLY_CONNECTED", operands, [product])
    other = ctx.tensor(2)
    if beta != 1:
        scaled = ctx.fresh("scaled", other.shape)
        factor = ctx.builder.constant(np.array(beta, FLOAT), f"{ctx.name}/beta")
        ctx.builder.emit("MUL", [other, factor], [scaled])
        other = scaled
    ctx.emit("ADD", [product, other])


def _first_operand(ctx: NodeLowering) -> tuple[Stored, int]:
    """A, read as its transpose where the node says so, and its columns."""
    source, shape = ctx.stored(0), ctx.shape(0)
    if not ctx.attributes.get_int("transA", 0):
        return source, shape[1]
    order = source.order.transposed(shape, (1, 0))
    if order is None:
        plain = Order.of(shape, identity(2))
        source = Stored(ctx.tensor(0), plain)
        order = plain.transposed(shape, (1, 0))
        assert order is not None
    return Stored(source.tensor, order), shape[0]


def _scale(ctx: NodeLowering, operands: list[Tensor], alpha: float, beta: float) -> None:
    """Multiply the constant weight by alpha and the constant bias by beta.

    If the network computes the weight, alpha multiplies its input.
    """
    for position, factor in ((1, alpha), (2, beta)):
        tensor = operands[position]
        if factor == 1:
            continue
        elements = tensor.elements
        if elements is None:
            number = ctx.builder.constant(np.array(factor, FLOAT), f"{ctx.name}/alpha")
            scaled = ctx.fresh("scaled", operands[0].shape)
            ctx.builder.emit("MUL", [operands[0], number], [scaled])
            operands[0] = scaled
        else:
            data = (elements * np.float32(factor)).astype(FLOAT)
            operands[position] = replace(tensor, data=data, exact=None)


@operator("MatMul", integer=Integer.COMPUTES, fuses=True)
def matmul(ctx: NodeLowering) -> None:
    """FULLY_CONNECTED for a constant matrix on the right, else BATCH_MATMUL.

    In int8 several constant matrices are one BATCH_MATMUL from 32 rows for each on, and a grouped
    CONV_2D for one row, but in float for 2 to 31, because ONNX Runtime's int8 MatMul is slower
    there ([figures](../benchmarks/results/batched_products.md)); two activations run in float.

    XNNPACK has only float kernels for those (3 x 196 x 64 by its transpose on a Cortex-A72,
    millions of instructions: int8 17.2, float 2.8, with DEQUANTIZE and QUANTIZE around it 3.0).
    """
    held = ctx.held(1)
    if not isinstance(held, Constant):
        ctx.refuse_integer("on ARM the product of two activations is faster in float")
    left, right = ctx.shape(0), ctx.shape(1)
    if isinstance(held, Constant) and len(right) == 2:
        rows, units = prod(left[:-1]), right[1]
        source = ctx.stored(0)
        split = heads(ctx, rows, units)
        if split is not None:
            emit_heads(ctx, source, split, units_first=False)
            return
        source, matrix = _matrix(ctx, source, rows, left[-1])
        operands = _dense_operands(ctx, source, matrix, units, False, None)
        _emit_dense(ctx, operands, matrix.with_columns(units))
        return
    rank = max(2, len(left), len(right))
    left = (1,) * (rank - len(left)) + left
    right = (1,) * (rank - 2) + (*right, 1) if len(right) == 1 else _padded(right, rank)
    a = ctx.builder.placed(ctx.stored(0), left, identity(rank))
    b, adjoint = _second_operand(ctx, right)
    batch = np.broadcast_shapes(left[:-2], right[:-2])
    shape = (*batch, left[-2], right[-1])
    order = Order.of(shape, identity(rank))
    ctx.emit_stored("BATCH_MATMUL", [a, b], shape, order, {"adjY": adjoint})


def _second_operand(ctx: NodeLowering, shape: Shape) -> tuple[Tensor, bool]:
    """The right operand, and whether it is stored with its last two axes exchanged."""
    rank = len(shape)
    stored = ctx.stored(1)
    exchanged = (*range(rank - 2), rank - 1, rank - 2)
    plain = Order.of(shape, identity(rank))
    adjoint = stored.order == Order.of(shape, exchanged) != plain
    return ctx.builder.placed(stored, shape, exchanged if adjoint else identity(rank)), adjoint


def _padded(shape: Shape, rank: int) -> Shape:
    return (1,) * (rank - len(shape)) + shape


def _matrix(ctx: NodeLowering, source: Stored, rows: int, depth: int) -> tuple[Stored, Matrix]:
    """Arrange the input as a matrix whose rows lie together.

    It stays as it is if they do. Otherwise its rows go where the consumer of the result reads them.
    """
    if not isinstance(ctx.held(1), Constant):
        return _plain_matrix(ctx, source, rows, depth)
    found = source.order.rows_and_columns(rows, depth)
    if found is not None:
        return source, found
    found = Matrix(_wanted_rows(ctx, rows), ((depth,), (0,)))
    order = found.with_columns(depth)
    return Stored(ctx.builder.arranged(source, order, (rows, depth)), order), found


def _plain_matrix(
    ctx: NodeLowering, source: Stored, rows: int, depth: int
) -> tuple[Stored, Matrix]:
    order = Order.of((rows, depth), identity(2))
    tensor = ctx.builder.arranged(source, order, (rows, depth))
    return Stored(tensor, order), Matrix.plain(rows, depth)


def _wanted_rows(ctx: NodeLowering, rows: int) -> tuple[Shape, Perm]:
    """Find the order in which a Transpose behind the product reads the rows.

    An input that is moved anyway can be moved to that order.

    Returns:
        ``(dims, perm)`` of the rows; the plain order if there is no such Transpose.
    """
    following = next_transpose(ctx.result)
    plain = (rows,), (0,)
    if following is None:
        return plain
    shape, perm = following
    count = next(axis for axis in range(len(shape) + 1) if prod(shape[:axis]) >= rows)
    if prod(shape[:count]) != rows or sorted(perm[:count]) != [*range(count)]:
        return plain
    return shape[:count], perm[:count]


def _dense_operands(
    ctx: NodeLowering,
    source: Stored,
    matrix: Matrix,
    units: int,
    rows_first: bool,
    bias: int | None,
) -> list[Tensor]:
    """Make input, weight (output x input, as TFLite has it) and bias of FULLY_CONNECTED.

    If the input's columns are stored in another order than ONNX's (a flattened map), the constant
    weight is permuted instead of the input.

    Args:
        ctx: The node.
        source: The input, stored as ``matrix`` says.
        matrix: Where the rows and columns of the input lie.
        units: The columns of the result.
        rows_first: Input 1 is units x depth already, not depth x units.
        bias: The input that is added, one number or one row.
    """
    columns = matrix.columns
    depth = prod(columns[0])
    if ctx.integer:
        known = integer_weights(ctx, 1, channel_axis=0 if rows_first else 1)
        oriented = _arranged(known.codes, columns, rows_first)
        offsets = integer_bias(ctx, bias, source.tensor, known.scales, units)
        weight = weight_tensor(ctx, 1, oriented, known.scales, axis=0)
        weight.shape = (units, depth)
        return [source.tensor, weight, offsets]
    real = ctx.constant(1)
    if real is None:
        weight = ctx.tensor(1, None if rows_first else (1, 0))
    else:
        name = ctx.value(1).name or f"{ctx.name}/weight"
        weight = ctx.builder.constant(_arranged(real, columns, rows_first), name)
        weight.shape = (units, depth)
    return [source.tensor, weight, _bias(ctx, bias, units)]


def _emit_dense(ctx: NodeLowering, operands: list[Tensor], order: Order) -> None:
    """Emit FULLY_CONNECTED, or a 1x1 CONV_2D for an integer weight with a scale per channel.

    FULLY_CONNECTED takes such weights since version 12, which older runtimes refuse.
    """
    x, weight, bias = operands
    units, depth = weight.shape
    rows = prod(x.shape) // depth
    if not ctx.integer or isinstance(weight.quantization, Quantization):
        if len(x.shape) > MOST_DIMENSIONS:
            x = ctx.builder.reshape(x, (rows, depth))
        ctx.emit_stored("FULLY_CONNECTED", [x, weight, bias], (rows, units), order)
        return
    kernel = ctx.builder.reshape(weight, (units, 1, 1, depth))
    pixels = ctx.builder.reshape(x, (rows, 1, 1, depth))
    options: Options = {"padding": Padding.VALID, "strideH": 1, "strideW": 1}
    ctx.emit_stored("CONV_2D", [pixels, kernel, bias], (rows, 1, 1, units), order, options)


def _arranged(matrix: Array, columns: tuple[Shape, Perm], rows_first: bool) -> Array:
    """The matrix as output x input, its inputs permuted as ``columns``, (dims, perm), says.

    The inputs keep their dimensions, because to merge them would copy the matrix.
    """
    oriented: Array = matrix if rows_first else matrix.T
    dims, perm = columns
    if len(dims) <= 1:
        return oriented
    split: Array = oriented.reshape(-1, *dims).transpose(0, *(axis + 1 for axis in perm))
    return split


def _bias(ctx: NodeLowering, index: int | None, units: int) -> Tensor:
    if index is None:
        return ctx.builder.constant(np.zeros(units, FLOAT), f"{ctx.name}/bias")
    real = ctx.demand_constant(index, "bias").reshape(-1)
    name = ctx.value(index).name or f"{ctx.name}/bias"
    return ctx.builder.constant(np.broadcast_to(real, (units,)).astype(FLOAT), name)
