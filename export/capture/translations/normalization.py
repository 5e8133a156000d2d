"""Batch normalization by the statistics of the batch itself."""

from __future__ import annotations

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten
Statistics = torch.Tensor | None


def _by_own_statistics(
    x: torch.Tensor,
    weight: Statistics,
    bias: Statistics,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    shape = [1, -1] + [1] * (x.dim() - 2)
    axes = [0, *range(2, x.dim())]
    mean = x.mean(axes, keepdim=True)
    centered = x - mean
    scale = (centered.square().mean(axes, keepdim=True) + eps).rsqrt()
    result = centered * scale
    if weight is not None:
        result = result * weight.reshape(shape)
    if bias is not None:
        result = result + bias.reshape(shape)
    return result, mean.reshape(-1), scale.reshape(-1)


def _batch_norm(
    x: torch.Tensor,
    weight: Statistics,
    bias: Statistics,
    running_mean: Statistics,
    running_var: Statistics,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> torch.Tensor:
    return _by_own_statistics(x, weight, bias, training, momentum, eps)[0]


def _has_no_statistics(
    x: torch.Tensor, weight: Statistics, bias: Statistics, running_mean: Statistics, *_args: object
) -> bool:
    return running_mean is None


TABLE: Table = {
    # PyTorch turns the first into the second before it looks for translations.
    _aten.batch_norm.default: Translation(_batch_norm, _has_no_statistics),
    _aten._native_batch_norm_legit.no_stats: Translation(_by_own_statistics),
}
