"""Writing through a view of any strides, as a scatter to constant places."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten


def _as_strided_scatter(
    x: torch.Tensor,
    source: torch.Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    offset: int | None = None,
) -> torch.Tensor:
    """``x`` with the elements of ``source`` at the places of the view, counted in one row."""
    places = torch.full((), offset or 0, dtype=torch.int64)
    for extent, step in zip(size, stride, strict=True):
        places = places.unsqueeze(-1) + torch.arange(extent) * step
    flat = x.reshape(-1).scatter(0, places.reshape(-1), source.reshape(-1))
    return flat.reshape(x.shape)


def _reaches_each_place_once(
    x: torch.Tensor, source: torch.Tensor, size: Sequence[int], stride: Sequence[int], *_: object
) -> bool:
    """Whether no two elements of the view share a place, where PyTorch leaves open which stays."""
    reach = 0
    for step, extent in sorted(zip(stride, size, strict=True)):
        if extent > 1 and step <= reach:
            return False
        reach += step * (extent - 1)
    return x.is_contiguous()


TABLE: Table = {
    _aten.as_strided_scatter.default: Translation(_as_strided_scatter, _reaches_each_place_once),
}
"""The operators that this module translates."""
