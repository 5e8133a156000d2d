"""The largest and smallest value, the mean and the sum of a whole tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten


def _over_all(reduce: Callable[..., torch.Tensor]) -> Translation:
    """No dimensions, or None for them, mean all."""

    def function(
        x: torch.Tensor, dim: Sequence[int] | None = (), keepdim: bool = False, **options: Any
    ) -> torch.Tensor:
        return reduce(x, **options).reshape([1] * x.dim() if keepdim else [])

    def applies(
        x: torch.Tensor, dim: Sequence[int] | None = (), keepdim: bool = False, **options: Any
    ) -> bool:
        return not dim

    return Translation(function, applies)


def _aminmax(
    x: torch.Tensor, *, dim: int | None = None, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    dims = [*range(x.dim())] if dim is None else [dim]
    return x.amin(dims, keepdim), x.amax(dims, keepdim)


TABLE: Table = {
    _aten.aminmax.default: Translation(_aminmax),
    _aten.amax.default: _over_all(torch.max),
    _aten.amin.default: _over_all(torch.min),
    _aten.mean.dim: _over_all(torch.mean),
    _aten.sum.dim_IntList: _over_all(torch.sum),
}
