"""Extremes beside NaN, signs, and numbers with the sign of others."""

from __future__ import annotations

import math

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten


def _larger(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The larger one; of a number and NaN the number."""
    return torch.where(b.isnan() | (a >= b), a, b)


def _smaller(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.where(b.isnan() | (a <= b), a, b)


def _copysign(a: torch.Tensor, b: torch.Tensor | float) -> torch.Tensor:
    if not isinstance(b, torch.Tensor):
        return a.abs() * math.copysign(1.0, b)
    size = a.abs() + torch.zeros_like(b)
    return torch.where(_is_negative(b), -size, size)


def _is_negative(x: torch.Tensor) -> torch.Tensor:
    """Whether the sign is minus; the reciprocal of a zero shows it."""
    return torch.where(x == 0, x.reciprocal(), x) < 0


def _is_float(x: torch.Tensor) -> bool:
    return x.is_floating_point()


TABLE: Table = {
    _aten.fmax.default: Translation(_larger),
    _aten.fmin.default: Translation(_smaller),
    _aten.copysign.Tensor: Translation(_copysign),
    _aten.copysign.Scalar: Translation(_copysign),
    _aten.signbit.default: Translation(_is_negative, _is_float),
}
