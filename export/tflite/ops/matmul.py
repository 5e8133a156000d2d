"""Matrix products."""

from __future__ import annotations

import numpy as np
from edgeconv.export.tflite.builder import FLOAT, Constant, Stored
from edgeconv.export.tflite.graph import Array, Padding, Tensor
from edgeconv.export.tflite.layout import Order, Shape, identity
from edgeconv.export.tflite.ops.weights import (
    Weights,
    integer_bias,
    integer_weights,
    weight_tensor,
)
from edgeconv.export.tflite.registry import Integer, NoIntegerForm, operator
from edgeconv.export.tflite.site import Site


@operator("Gemm", integer=Integer.COMPUTES, fuses=True)
def gemm(site: Site) -> None:
    """alpha * A * B + beta * C with A or B transposed at will."""
    alpha = site.float_attribute("alpha", 1.0)
    beta = site.float_attribute("beta", 1.0)
    if site.integer_attribute("transA", 0):
        raise site.unsupported("transA is 1", "transpose its first input in the network")
    if not isinstance(site.held(1), Constant):
        raise site.unsupported("its second input is computed by the network", "use MatMul")
    rows_first = bool(site.integer_attribute("transB", 0))
    if site.integer and (alpha != 1 or beta != 1):
        raise NoIntegerForm("alpha or beta is not 1")
    bias = 2 if site.has(2) else None
    if bias is not None and _size(site.shape(bias)) not in (1, site.result_shape[1]):
        raise site.unsupported("its third input has more than one row", "use MatMul and Add")
    dense(site, rows_first=rows_first, bias=bias, alpha=alpha, beta=beta)


@operator("MatMul", integer=Integer.COMPUTES, fuses=True)
def matmul(site: Site) -> None:
    """FULLY_CONNECTED for a constant matrix on the right."""
    held = site.held(1)
    if isinstance(held, Constant) and held.array.ndim == 2:
        dense(site, rows_first=False, bias=None)
        return
    raise site.unsupported(
        "its second input is not a constant matrix", "only those have been lowered so far"
    )


def dense(
    site: Site, *, rows_first: bool, bias: int | None, alpha: float = 1.0, beta: float = 1.0
) -> None:
    """The product of input 0, seen as rows of the last axis, and constant matrix 1.

    ``rows_first``: the matrix is output x input, as TFLite wants it. Where the input's columns
    are stored in another order than ONNX's (a flattened map), the matrix is permuted instead.
    """
    shape = site.shape(0)
    depth = shape[-1]
    rows = _size(shape[:-1])
    stored = site.stored(0)
    columns = stored.order.rows_and_columns(rows, depth)
    if columns is None:
        stored = Stored(site.tensor(0), Order.of(shape, identity(len(shape))))
        columns = (depth,), (0,)
    order = np.arange(depth).reshape(columns[0]).transpose(columns[1]).reshape(-1)

    units = site.result_shape[-1]
    if site.integer:
        known = integer_weights(site, 1, channel_axis=0 if rows_first else 1)
        matrix = _arranged(known.codes, order, rows_first)
        offsets = integer_bias(site, bias, stored.tensor, known.scales, units)
        _integer_dense(site, stored.tensor, Weights(matrix, known.scales), offsets, (rows, depth))
        return
    real = site.demand_constant(1, "second input")
    matrix = _arranged(real if alpha == 1 else (real * alpha).astype(FLOAT), order, rows_first)
    name = site.value(1).name or f"{site.name}/weight"
    operands = [
        stored.tensor,
        site.builder.constant(matrix, name),
        _bias(site, bias, beta, units),
    ]
    site.emit_stored("FULLY_CONNECTED", operands, (rows, units), Order.of((rows, units), (0, 1)))


def _integer_dense(site: Site, x: Tensor, weights: Weights, bias: Tensor, shape: Shape) -> None:
    """FULLY_CONNECTED with one scale for the matrix, else a 1x1 CONV_2D: per-channel scales of
    FULLY_CONNECTED came with version 12, which older runtimes refuse."""
    rows, depth = shape
    units = weights.codes.shape[0]
    if not weights.per_channel:
        weight = weight_tensor(site, 1, weights.codes, weights.scales, axis=0)
        operands = [x, weight, bias]
        site.emit_stored(
            "FULLY_CONNECTED", operands, (rows, units), Order.of((rows, units), (0, 1))
        )
        return
    kernel = weights.codes.reshape(units, 1, 1, depth)
    weight = weight_tensor(site, 1, kernel, weights.scales, axis=0)
    pixels = site.builder.reshape(x, (rows, 1, 1, depth))
    site.emit_stored(
        "CONV_2D",
        [pixels, weight, bias],
        (rows, 1, 1, units),
        Order.of((rows, units), (0, 1)),
        {"padding": Padding.VALID, "strideH": 1, "strideW": 1},
    )


def _arranged(matrix: Array, order: Array, rows_first: bool) -> Array:
    """The matrix as output x input, its inputs in ``order``."""
    oriented = matrix if rows_first else matrix.T
    plain = np.array_equal(order, np.arange(len(order)))
    return oriented if plain else oriented[:, order]


def _bias(site: Site, index: int | None, beta: float, units: int) -> Tensor:
    if index is None:
        return site.builder.constant(np.zeros(units, FLOAT), f"{site.name}/bias")
    real = site.demand_constant(index, "bias").reshape(-1) * np.float32(beta)
    name = site.value(index).name or f"{site.name}/bias"
    return site.builder.constant(np.broadcast_to(real, (units,)).astype(FLOAT), name)


def _size(shape: Shape) -> int:
    return int(np.prod(shape, dtype=np.int64))
