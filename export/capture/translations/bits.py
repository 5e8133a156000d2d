"""Shifts of integers: ONNX has them for unsigned numbers, and the exporter for constant places."""

from __future__ import annotations

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten

Operand = torch.Tensor | int


def _operands(x: Operand, places: Operand) -> tuple[torch.Tensor, torch.Tensor, torch.dtype, int]:
    """The number and the places in a type that ONNX computes in, the own type, and its bits.

    Places that no bit survives become the number of bits.
    """
    dtype = torch.result_type(x, places)
    wide = torch.int64 if dtype == torch.int64 else torch.int32
    number, by = (
        each.to(wide) if isinstance(each, torch.Tensor) else torch.full((), each, dtype=wide)
        for each in (x, places)
    )
    bits = torch.iinfo(dtype).bits
    return number, torch.where((by < 0) | (by > bits), bits, by), dtype, bits


def _power(places: torch.Tensor, width: int) -> torch.Tensor:
    """Two to the power of ``places``, which are below ``width``: one factor for each of their bits.

    The power of the sign bit is negative.
    """
    power = torch.ones_like(places)
    for bit in range((width - 1).bit_length()):
        is_set = torch.remainder(torch.floor_divide(places, 1 << bit), 2) == 1
        power = power * torch.where(is_set, 1 << (1 << bit), 1).to(places.dtype)
    return power


def _left(x: Operand, places: Operand) -> torch.Tensor:
    number, by, dtype, bits = _operands(x, places)
    width = torch.iinfo(number.dtype).bits
    moved = number * _power(by.clamp(max=width - 1), width)
    return torch.where(by == bits, 0, moved).to(dtype)


def _right(x: Operand, places: Operand) -> torch.Tensor:
    """The quotient rounded down; the sign stays."""
    number, by, dtype, _bits = _operands(x, places)
    width = torch.iinfo(number.dtype).bits
    largest = width - 2  # the next power is negative
    moved = torch.floor_divide(number, _power(by.clamp(max=largest), width))
    return torch.where(by > largest, torch.where(number < 0, -1, 0), moved).to(dtype)


TABLE: Table = {
    _aten.__lshift__.Tensor: Translation(_left),
    _aten.__lshift__.Scalar: Translation(_left),
    _aten.bitwise_left_shift.Tensor: Translation(_left),
    _aten.bitwise_left_shift.Tensor_Scalar: Translation(_left),
    _aten.bitwise_left_shift.Scalar_Tensor: Translation(_left),
    _aten.__rshift__.Tensor: Translation(_right),
    _aten.__rshift__.Scalar: Translation(_right),
    _aten.bitwise_right_shift.Tensor: Translation(_right),
    _aten.bitwise_right_shift.Tensor_Scalar: Translation(_right),
    _aten.bitwise_right_shift.Scalar_Tensor: Translation(_right),
}
