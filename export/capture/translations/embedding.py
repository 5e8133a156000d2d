"""Sums, means and maxima of embeddings by bag, and embeddings of a limited length."""

from __future__ import annotations

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten
Bags = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
_SUM, _MEAN, _MAX = 0, 1, 2


def _embedding_bag(
    weight: torch.Tensor,
    indices: torch.Tensor,
    offsets: torch.Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: torch.Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Bags:
    """The bags, and three tensors that only their gradient needs, as zeros."""
    bags = offsets.shape[0] - include_last_offset
    member = _membership(indices.shape[0], bags, offsets[:bags])
    if padding_idx is not None and padding_idx >= -weight.shape[0]:
        member = member & (indices != padding_idx % weight.shape[0])
    vectors = torch.nn.functional.embedding(indices, weight)
    if per_sample_weights is not None:
        vectors = vectors * per_sample_weights.unsqueeze(-1)
    share = member.to(weight.dtype)
    count = share.sum(-1, keepdim=True)
    if mode == _MAX:
        lowest = torch.finfo(weight.dtype).min
        largest = torch.where(member.unsqueeze(-1), vectors, lowest).amax(1)
        result = torch.where(count > 0, largest, 0.0)
    else:
        result = share @ vectors
        if mode == _MEAN:
            result = result / count.clamp(min=1)
    unused = torch.zeros(0, dtype=indices.dtype)
    return result, unused, unused.clone(), unused.clone()


def _membership(count: int, bags: int, offsets: torch.Tensor) -> torch.Tensor:
    """Which index is in which bag, as bags × indices."""
    if bags == 1:
        return torch.ones(1, count, dtype=torch.bool)
    begun = offsets.unsqueeze(-1) <= torch.arange(count)
    ended = torch.cat([begun[1:], torch.zeros(1, count, dtype=torch.bool)])
    return begun & ~ended


def _renormalized(
    weight: torch.Tensor, indices: torch.Tensor, max_norm: float, norm_type: float
) -> torch.Tensor:
    """Shorten every row that is longer than ``max_norm``: whatever is looked up is so then."""
    norm = torch.linalg.vector_norm(weight, norm_type, dim=-1, keepdim=True)
    return torch.where(norm > max_norm, weight * (max_norm / (norm + 1e-7)), weight)


TABLE: Table = {
    _aten.embedding_renorm.default: Translation(_renormalized),
    _aten.embedding_bag.default: Translation(_embedding_bag),
    _aten.embedding_bag.padding_idx: Translation(_embedding_bag),
    _aten._embedding_bag_forward_only.default: Translation(_embedding_bag),
}
