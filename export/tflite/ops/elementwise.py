"""Arithmetic of two operands that broadcast."""

from __future__ import annotations

from functools import partial

from edgeconv.export.tflite.builder import Constant, Stored
from edgeconv.export.tflite.graph import Tensor
from edgeconv.export.tflite.layout import Perm, Shape, identity
from edgeconv.export.tflite.registry import Integer, operator
from edgeconv.export.tflite.site import Site

COMPUTES = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL"}


def binary(site: Site, name: str) -> None:
    """Emit an operator of two operands, in an order in which one of them already is."""
    left, right = site.stored(0), site.stored(1)
    shape = site.result_shape
    if site.shape(0) == site.shape(1):
        leader = _leader(site, left, right)
        operands = [
            site.builder.arranged(stored, leader.order, leader.tensor.shape)
            for stored in (left, right)
        ]
        site.emit_stored(name, operands, leader.tensor.shape, leader.order)
        return
    perm = _broadcast_perm(site, shape)
    site.emit(name, [_extended(site, index, perm) for index in (0, 1)], perm)


def _leader(site: Site, left: Stored, right: Stored) -> Stored:
    """The operand whose order the other one takes: one that is not constant, and rather one that
    was moved out of the plain order, which its neighbors had a reason for."""
    if isinstance(site.held(0), Constant):
        return right
    if isinstance(site.held(1), Constant):
        return left
    return right if left.order.is_identity else left


def _broadcast_perm(site: Site, shape: Shape) -> Perm:
    """The order of axes of the larger operand that is not constant."""
    rank = len(shape)
    candidates = [
        (site.shape(index), held.order)
        for index in (0, 1)
        if isinstance(held := site.held(index), Stored)
    ]
    # Larger first; among equals, one that is not in the plain order.
    candidates.sort(key=lambda item: (-_size(item[0]), item[1].is_identity))
    for own, order in candidates:
        perm = order.as_perm(_padded(own, rank))
        if perm is not None:
            return perm
    return identity(rank)


def _extended(site: Site, index: int, perm: Perm) -> Tensor:
    """Operand ``index`` with the rank of the result. Constants drop leading ones again."""
    shape = _padded(site.shape(index), len(perm))
    tensor = site.builder.placed(site.stored(index), shape, perm)
    if tensor.data is not None:
        lead = next((axis for axis, size in enumerate(tensor.shape) if size != 1), len(perm) - 1)
        tensor = site.builder.reshape(tensor, tensor.shape[lead:])
    return tensor


def _padded(shape: Shape, rank: int) -> Shape:
    return (1,) * (rank - len(shape)) + shape


def _size(shape: Shape) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size


for _onnx, _tflite in COMPUTES.items():
    operator(_onnx, integer=Integer.COMPUTES, fuses=True)(partial(binary, name=_tflite))
operator("Div", fuses=True)(partial(binary, name="DIV"))
