"""The channel order in which the consumer of a convolution reads it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.graph_edit import only_consumer
from edgeconv.export.tflite.builder import static_shape
from edgeconv.export.tflite.layout import Order, Perm, Shape, identity
from edgeconv.export.traits import Trait, operators

RESHAPES = operators(Trait.VIEWS)
KEEPS_ORDER = {
    *operators(Trait.VIEWS | Trait.FUNCTION),
    *("QuantizeLinear", "DequantizeLinear", "Cast"),
}


def consumer_order(value: ir.Value) -> Order | None:
    """Find the order in which the only consumer of ``value`` reads it.

    Operators that leave every element where it is are looked through.

    Returns:
        None if the order is unknown.
    """
    node = only_consumer(value)
    if node is None:
        return None
    shape = static_shape(value)
    if node.op_type == "DepthToSpace" and node.attributes.get_string("mode", "DCR") == "CRD":
        return shuffled_order(shape, node.attributes.get_int("blocksize", 1))
    if node.op_type == "Softmax":
        axis = node.attributes.get_int("axis", -1) % len(shape)
        return Order.of(shape, (*(other for other in identity(len(shape)) if other != axis), axis))
    if node.op_type == "Transpose":
        return _before_transpose(node, shape)
    if node.op_type in KEEPS_ORDER and node.inputs[0] is value:
        return consumer_order(node.outputs[0])
    return None


def next_transpose(value: ir.Value) -> tuple[Shape, Perm] | None:
    """Find the Transpose that is the only consumer of ``value``, through changes of its shape.

    Returns:
        The shape that the Transpose reads, and its permutation; None if there is no such Transpose.
    """
    node = only_consumer(value)
    while node is not None and node.op_type in RESHAPES:
        node = only_consumer(node.outputs[0])
    if node is None or node.op_type != "Transpose" or node.inputs[0] is None:
        return None
    shape = static_shape(node.inputs[0])
    return shape, _perm(node, len(shape))


def _perm(node: ir.Node, rank: int) -> Perm:
    stated = node.attributes.get("perm")
    return tuple(stated.as_ints()) if stated else tuple(reversed(range(rank)))


def shuffled_order(shape: Shape, block: int) -> Order:
    """The order in which DEPTH_TO_SPACE reads a value of mode CRD: the block before the depth."""
    n, channels, height, width = shape
    return Order.of(
        (n, channels // block**2, block, block, height, width),
        (0, 4, 5, 2, 3, 1),
    )


def _before_transpose(node: ir.Node, shape: Shape) -> Order | None:
    after = consumer_order(node.outputs[0])
    if after is None:
        return None
    perm = _perm(node, len(shape))
    back = tuple(perm.index(axis) for axis in range(len(shape)))
    return after.transposed(static_shape(node.outputs[0]), back)


def channel_permutation(order: Order, shape: Shape) -> npt.NDArray[np.int64] | None:
    """Find the order of the channels of an N x C x H x W value that is stored in ``order``.

    Returns:
        The permutation of the channels; None unless ``order`` is channels last but for it.
    """
    grouped = order.grouped(shape)
    if grouped is None:
        return None
    (batch, channels, *spatial), dims, stored = grouped
    front = [*batch, *(index for group in spatial for index in group)]
    if not channels or list(stored[: len(front)]) != front:
        return None
    numbers = np.arange(shape[1]).reshape([dims[index] for index in channels])
    stored_channels = [index - channels[0] for index in stored[len(front) :]]
    permutation: npt.NDArray[np.int64] = numbers.transpose(stored_channels).reshape(-1)
    return permutation
