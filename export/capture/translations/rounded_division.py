"""Quotients that are rounded, and remainders.

The exporter divides integers in float32, which has 24 bits, and takes x - y floor(x / y) for the
remainder of real numbers, where x / y may round to the next whole number, or overflow.
"""

from __future__ import annotations

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten

Operand = torch.Tensor | float


def _divided(x: torch.Tensor, y: Operand, *, rounding_mode: str | None = None) -> torch.Tensor:
    """The quotient rounded down, or of integers toward zero as of a multiple of the divisor."""
    if rounding_mode == "trunc":
        x = x - torch.fmod(x, y)
    return torch.floor_divide(x, y)


def _is_inexact(x: torch.Tensor, y: Operand, *, rounding_mode: str | None = None) -> bool:
    """Whether the exporter's quotient may round to another whole number than the exact one."""
    if rounding_mode is None:
        return False
    return rounding_mode == "floor" or not _of_floats(x, y)


def _of_floats(x: Operand, y: Operand) -> bool:
    return torch.result_type(x, y).is_floating_point


def _in_one_type(x: Operand, y: Operand) -> tuple[torch.Tensor, torch.Tensor]:
    """Both operands as tensors of the type that the result has."""
    dtype = torch.result_type(x, y)
    first, second = (
        each.to(dtype) if isinstance(each, torch.Tensor) else torch.full((), each, dtype=dtype)
        for each in (x, y)
    )
    return first, second


def _is_beyond(rest: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Where the remainder of a quotient toward zero has the other sign than the divisor."""
    return (rest != 0) & ((rest < 0) ^ (y < 0))


def _remainder(x: Operand, y: Operand) -> torch.Tensor:
    """The remainder with the sign of the divisor; that with the sign of ``x`` is exact."""
    x, y = _in_one_type(x, y)
    rest = torch.fmod(x, y)
    return torch.where(_is_beyond(rest, y), rest + y, rest)


def _floor_divide(x: Operand, y: Operand) -> torch.Tensor:
    """As PyTorch does: the difference to the remainder is a multiple, but for its rounding."""
    x, y = _in_one_type(x, y)
    rest = torch.fmod(x, y)
    multiple = (x - rest) / y
    multiple = torch.where(_is_beyond(rest, y), multiple - 1, multiple)
    lower = multiple.floor()
    nearest = torch.where(multiple - lower > 0.5, lower + 1, lower)
    return torch.where(y == 0, x / y, nearest)


TABLE: Table = {
    _aten.div.Tensor_mode: Translation(_divided, _is_inexact),
    _aten.div.Scalar_mode: Translation(_divided, _is_inexact),
    _aten.floor_divide.default: Translation(_floor_divide, _of_floats),
    _aten.floor_divide.Scalar: Translation(_floor_divide, _of_floats),
    _aten.remainder.Tensor: Translation(_remainder, _of_floats),
    _aten.remainder.Scalar: Translation(_remainder, _of_floats),
    _aten.remainder.Scalar_Tensor: Translation(_remainder, _of_floats),
}
