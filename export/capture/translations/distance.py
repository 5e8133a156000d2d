"""Distances: cdist and hypot."""

from __future__ import annotations

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten
_BY_PRODUCTS, _NEVER_BY_PRODUCTS = 1, 2  # PyTorch's compute_mode
_FEW = 25  # rows; PyTorch multiplies matrices for more


def _cdist(
    a: torch.Tensor, b: torch.Tensor, p: float = 2.0, compute_mode: int | None = None
) -> torch.Tensor:
    many = a.shape[-2] > _FEW or b.shape[-2] > _FEW
    by_products = compute_mode == _BY_PRODUCTS or (many and compute_mode != _NEVER_BY_PRODUCTS)
    if p == 2 and by_products:
        squares = a.square().sum(-1, keepdim=True) + b.square().sum(-1).unsqueeze(-2)
        return (squares - 2 * (a @ b.mT)).clamp(min=0).sqrt()
    difference = a.unsqueeze(-2) - b.unsqueeze(-3)
    if p == 2:
        return difference.square().sum(-1).sqrt()
    norm: torch.Tensor = torch.linalg.vector_norm(difference, p, dim=-1)
    return norm


def _hypot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The larger side is a factor, so that nothing overflows between."""
    a, b = a.abs(), b.abs()
    larger, smaller = torch.maximum(a, b), torch.minimum(a, b)
    ratio = torch.where(larger == smaller, 1.0, smaller / larger)
    return larger * (1 + ratio.square()).sqrt()


TABLE: Table = {
    _aten.cdist.default: Translation(_cdist),
    _aten._cdist_forward.default: Translation(_cdist),
    _aten.hypot.default: Translation(_hypot),
}
