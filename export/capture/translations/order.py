"""Operators that sort or count: argsort, kthvalue, median, mode, and a stable sort."""

from __future__ import annotations

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten


def _sort(
    x: torch.Tensor, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """ONNX's TopK puts the lower index first among equals, so every sort is stable."""
    values, indices = torch.sort(x, dim=dim, descending=descending)
    return values, indices


def _argsort(x: torch.Tensor, dim: int = -1, descending: bool = False) -> torch.Tensor:
    return torch.sort(x, dim=dim, descending=descending).indices


def _argsort_stable(
    x: torch.Tensor, *, stable: bool, dim: int = -1, descending: bool = False
) -> torch.Tensor:
    return _argsort(x, dim, descending)


def _kthvalue(
    x: torch.Tensor, k: int, dim: int = -1, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    if x.dim() == 0:
        return x.clone(), torch.zeros((), dtype=torch.int64)
    values, indices = torch.topk(x, k, dim=dim, largest=False)
    values, indices = values.narrow(dim, k - 1, 1), indices.narrow(dim, k - 1, 1)
    return (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim))


def _median_of_dim(
    x: torch.Tensor, dim: int, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """The lower of the two values in the middle."""
    return _kthvalue(x, (x.shape[dim] + 1) // 2 if x.dim() else 1, dim, keepdim)


def _median(x: torch.Tensor) -> torch.Tensor:
    return _median_of_dim(x.reshape(-1), 0)[0]


def _nanmedian_of_dim(
    x: torch.Tensor, dim: int, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """The lower of the two numbers in the middle; NaN where there is no number."""
    if x.dim() == 0:
        return x.clone(), torch.zeros((), dtype=torch.int64)
    numbers = x.isnan().logical_not()
    count = numbers.sum(dim, keepdim=True)
    values, indices = torch.where(numbers, x, torch.inf).sort(dim=dim, stable=True)
    middle = ((count - 1) // 2).clamp(min=0)
    value = torch.where(count > 0, values.gather(dim, middle), torch.nan)
    index = indices.gather(dim, middle)
    return (value, index) if keepdim else (value.squeeze(dim), index.squeeze(dim))


def _nanmedian(x: torch.Tensor) -> torch.Tensor:
    return _nanmedian_of_dim(x.reshape(-1), 0)[0]


def _mode(
    x: torch.Tensor, dim: int = -1, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest of the most frequent values, and its last place."""
    if x.dim() == 0:
        return x.clone(), torch.zeros((), dtype=torch.int64)
    rows = x.movedim(dim, -1)
    equal = rows.unsqueeze(-1) == rows.unsqueeze(-2)
    count = equal.sum(-1)
    frequent = count == count.amax(-1, keepdim=True)
    largest = torch.finfo if x.is_floating_point() else torch.iinfo
    value = torch.where(frequent, rows, largest(x.dtype).max).amin(-1, keepdim=True)
    place = torch.where(rows == value, torch.arange(rows.shape[-1]), -1).amax(-1, keepdim=True)
    value, place = value.movedim(-1, dim), place.movedim(-1, dim)
    return (value, place) if keepdim else (value.squeeze(dim), place.squeeze(dim))


TABLE: Table = {
    _aten.sort.stable: Translation(_sort),
    _aten.argsort.default: Translation(_argsort),
    _aten.argsort.stable: Translation(_argsort_stable),
    _aten.kthvalue.default: Translation(_kthvalue),
    _aten.median.default: Translation(_median),
    _aten.median.dim: Translation(_median_of_dim),
    _aten.nanmedian.default: Translation(_nanmedian),
    _aten.nanmedian.dim: Translation(_nanmedian_of_dim),
    _aten.mode.default: Translation(_mode),
}
