"""Scaled dot-product attention of any number of dimensions; the exporter writes that of four."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Everything before the heads becomes one batch; without heads there is one."""
    batch = np.broadcast_shapes(query.shape[:-3], key.shape[:-3], value.shape[:-3])
    if attn_mask is not None:
        batch = np.broadcast_shapes(batch, attn_mask.shape[:-3])
        attn_mask = _four(attn_mask, batch) if attn_mask.dim() > 2 else attn_mask
    result = torch.nn.functional.scaled_dot_product_attention(
        _four(query, batch),
        _four(key, batch),
        _four(value, batch),
        attn_mask,
        dropout_p,
        is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
    )
    heads = [result.shape[1]] if max(query.dim(), key.dim(), value.dim()) > 2 else []
    return result.reshape(*batch, *heads, *result.shape[2:])


def _four(x: torch.Tensor, batch: tuple[int, ...]) -> torch.Tensor:
    while x.dim() < 3:
        x = x.unsqueeze(0)
    return x.expand(*batch, *x.shape[-3:]).reshape(-1, *x.shape[-3:])


def _is_not_four(query: torch.Tensor, *_args: Any, **_kwargs: Any) -> bool:
    return query.dim() != 4


TABLE: Table = {
    _aten.scaled_dot_product_attention.default: Translation(_attention, _is_not_four),
}
