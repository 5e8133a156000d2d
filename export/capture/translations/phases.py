"""Angles of all four quadrants, with the signs of zeros: atan2, and angle of complex numbers.

``atan2(0, x)`` is π for a negative x, and -π for a zero with a sign. PyTorch's exporter writes -π
for both, 0 where x is a zero with a sign, and 0 for NaN.
"""

from __future__ import annotations

import math

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten


def _is_below_zero(x: torch.Tensor) -> torch.Tensor:
    """Whether ``x`` has a sign, which a zero shows in its reciprocal only."""
    return (x < 0) | (x.reciprocal() < 0)


def atan2(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The angle of the point (x, y), from -π to π."""
    slope = (y / x).abs()
    # Two zeros, and two infinities, have no quotient: the angle is 0, and 45 degrees.
    slope = torch.where((y == 0) & (x == 0), 0.0, slope)
    slope = torch.where((y.abs() == math.inf) & (x.abs() == math.inf), 1.0, slope)
    angle = slope.atan()
    angle = torch.where(_is_below_zero(x), math.pi - angle, angle)
    return torch.where(_is_below_zero(y), -angle, angle)


def _angle(x: torch.Tensor) -> torch.Tensor:
    real, imaginary = torch.view_as_real(x).unbind(-1)
    return atan2(imaginary, real)


def _is_complex(x: torch.Tensor) -> bool:
    return x.is_complex()


def _is_float(y: torch.Tensor, x: torch.Tensor) -> bool:
    return y.is_floating_point() and x.is_floating_point()


TABLE: Table = {
    _aten.atan2.default: Translation(atan2, _is_float),
    _aten.angle.default: Translation(_angle, _is_complex),
}
