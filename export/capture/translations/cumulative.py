"""What runs along an axis: cumprod, cummax, cummin, logcumsumexp, powers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from edgeconv.export.capture.translations.pointwise import logaddexp
from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten
Binary = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _scan(x: torch.Tensor, dim: int, combine: Binary) -> torch.Tensor:
    """Combine every value with all before it, in steps that double their reach."""
    size, reach = x.shape[dim] if x.dim() else 1, 1
    while reach < size:
        rest = size - reach
        later = combine(x.narrow(dim, reach, rest), x.narrow(dim, 0, rest))
        x = torch.cat([x.narrow(dim, 0, reach), later], dim=dim)
        reach *= 2
    return x


def _cumprod(x: torch.Tensor, dim: int, *, dtype: torch.dtype | None = None) -> torch.Tensor:
    if dtype is None and not x.is_floating_point():
        dtype = torch.int64
    return _scan(x if dtype is None else x.to(dtype), dim, torch.mul)


def _vander(x: torch.Tensor, columns: int | None = None, increasing: bool = False) -> torch.Tensor:
    """Powers from the 0th to the last, or backwards."""
    x = x if x.is_floating_point() else x.to(torch.int64)
    powers = [torch.ones_like(x)]
    while len(powers) < (x.shape[0] if columns is None else columns):
        powers.append(powers[-1] * x)
    return torch.stack(powers if increasing else powers[::-1], dim=-1)


def _has_columns(x: torch.Tensor, columns: int | None = None, increasing: bool = False) -> bool:
    return x.shape[0] > 0 and columns != 0


def _logcumsumexp(x: torch.Tensor, dim: int) -> torch.Tensor:
    """The exporter subtracts one maximum from all, beside which early values vanish."""
    return _scan(x, dim, logaddexp)


def _extreme(extreme: Binary, is_at_least: Binary) -> Translation:
    def function(x: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
        values = _scan(x, dim, extreme)
        if x.dim() == 0:
            return values, torch.zeros((), dtype=torch.int64)
        shape = [1] * x.dim()
        shape[dim] = x.shape[dim]
        place = torch.arange(x.shape[dim]).reshape(shape)
        # Of equal values the last one counts.
        found = torch.where(is_at_least(x, values), place, 0)
        return values, _scan(found, dim, torch.maximum)

    return Translation(function)


TABLE: Table = {
    _aten.cumprod.default: Translation(_cumprod),
    _aten.cummax.default: _extreme(torch.maximum, torch.ge),
    _aten.cummin.default: _extreme(torch.minimum, torch.le),
    _aten.logcumsumexp.default: Translation(_logcumsumexp),
    _aten.vander.default: Translation(_vander, _has_columns),
}
