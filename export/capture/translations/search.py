"""Places in a sorted sequence: searchsorted and bucketize."""

from __future__ import annotations

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten
Value = torch.Tensor | float


def _searchsorted(
    ordered: torch.Tensor,
    values: Value,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: torch.Tensor | None = None,
) -> torch.Tensor:
    """Count what does not stand behind the value, as a search does; so a NaN is behind all."""
    if sorter is not None:
        ordered = torch.gather(ordered, -1, sorter)
    values = values if isinstance(values, torch.Tensor) else torch.full((), values)
    if ordered.dim() > 1:
        ordered = ordered.unsqueeze(-2)
    wanted = values.unsqueeze(-1)
    behind = ordered > wanted if right or side == "right" else ordered >= wanted
    found = ordered.shape[-1] - behind.sum(-1, dtype=torch.int32)
    return found if out_int32 else found.to(torch.int64)


def _bucketize(
    values: Value, boundaries: torch.Tensor, *, out_int32: bool = False, right: bool = False
) -> torch.Tensor:
    return _searchsorted(boundaries, values, out_int32=out_int32, right=right)


TABLE: Table = {
    _aten.searchsorted.Tensor: Translation(_searchsorted),
    _aten.searchsorted.Scalar: Translation(_searchsorted),
    _aten.bucketize.Tensor: Translation(_bucketize),
    _aten.bucketize.Scalar: Translation(_bucketize),
}
