"""Distances: cdist, pdist and hypot."""

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
        product: torch.Tensor = (squares - 2 * (a @ b.mT)).clamp(min=0)
        return product.sqrt()
    difference = a.unsqueeze(-2) - b.unsqueeze(-3)
    if p == 2:
        euclidean: torch.Tensor = difference.square().sum(-1).sqrt()
        return euclidean
    norm: torch.Tensor = torch.linalg.vector_norm(difference, p, dim=-1)
    return norm


def _pdist(x: torch.Tensor, p: float = 2.0) -> torch.Tensor:
    """The distances of all pairs of rows."""
    first, second = torch.triu_indices(x.shape[0], x.shape[0], 1)
    norm: torch.Tensor = torch.linalg.vector_norm(x[first] - x[second], p, dim=-1)
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
    _aten._pdist_forward.default: Translation(_pdist),
    _aten.hypot.default: Translation(_hypot),
}
