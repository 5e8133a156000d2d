"""Elementwise functions: erfinv, logaddexp, logaddexp2, and rrelu outside training."""

from __future__ import annotations

import math

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten

# Giles, "Approximating the erfinv function" (2010), single precision, highest power first.
_CENTER = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_TAIL = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


def _polynomial(coefficients: tuple[float, ...], x: torch.Tensor) -> torch.Tensor:
    result = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        result = result * x + coefficient
    return result


def _erfinv(x: torch.Tensor) -> torch.Tensor:
    w = -((1 - x) * (1 + x)).log()
    # Each polynomial sees its own range only: beyond it its value would not be finite.
    center = _polynomial(_CENTER, w.clamp(max=5.0) - 2.5)
    tail = _polynomial(_TAIL, w.clamp(min=5.0, max=100.0).sqrt() - 3)
    inner = torch.where(w < 5, center, tail) * x
    return torch.where(x.abs() == 1, x * torch.inf, inner)


def logaddexp(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """log(exp(x) + exp(y)); the exporter's own translation overflows from 89 on."""
    # Equal infinities have no difference.
    apart = (x - y).abs().where(x != y, 0.0)
    return torch.maximum(x, y) + apart.neg().exp().log1p()


def _logaddexp2(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    apart = (x - y).abs().where(x != y, 0.0)
    return torch.maximum(x, y) + (apart * -math.log(2)).exp().log1p() / math.log(2)


def _rrelu(
    x: torch.Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    return torch.nn.functional.leaky_relu(x, (lower + upper) / 2)


def _is_not_training(
    x: torch.Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: torch.Generator | None = None,
) -> bool:
    return not training


TABLE: Table = {
    _aten.erfinv.default: Translation(_erfinv),
    _aten.special_erfinv.default: Translation(_erfinv),
    _aten.logaddexp.default: Translation(logaddexp),
    _aten.logaddexp2.default: Translation(_logaddexp2),
    _aten.rrelu.default: Translation(_rrelu, _is_not_training),
}
