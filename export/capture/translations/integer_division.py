"""Division of integers with rounding; the exporter divides in float32, which has 24 bits."""

from __future__ import annotations

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten

Operand = torch.Tensor | int


def _divided(x: torch.Tensor, y: Operand, *, rounding_mode: str | None = None) -> torch.Tensor:
    """The quotient in integers: rounded down, or toward zero as of a multiple of the divisor."""
    if rounding_mode == "trunc":
        x = x - torch.fmod(x, y)
    return torch.floor_divide(x, y)


def _of_integers(x: torch.Tensor, y: Operand, *, rounding_mode: str | None = None) -> bool:
    if rounding_mode is None or isinstance(y, float):
        return False
    operands = [each for each in (x, y) if isinstance(each, torch.Tensor)]
    return not any(each.is_floating_point() or each.is_complex() for each in operands)


TABLE: Table = {
    _aten.div.Tensor_mode: Translation(_divided, _of_integers),
    _aten.div.Scalar_mode: Translation(_divided, _of_integers),
}
