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
    # Runtimes add up one element after the other, and a small deviation amplifies what that is off.
    centered = centered - centered.mean(axes, keepdim=True)
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


def _with_running_statistics(
    x: torch.Tensor,
    weight: Statistics,
    bias: Statistics,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[torch.Tensor, ...]:
    """By the statistics of the batch, with what the running ones become."""
    result, mean, scale = _by_own_statistics(x, weight, bias, training, momentum, eps)
    count = x.numel() // x.shape[1]
    variance = (scale.square().reciprocal() - eps) * (count / max(count - 1, 1))
    return (
        result,
        mean,
        scale,
        running_mean + momentum * (mean - running_mean),
        running_var + momentum * (variance - running_var),
    )


def _without_changes(
    x: torch.Tensor,
    weight: Statistics,
    bias: Statistics,
    running_mean: Statistics,
    running_var: Statistics,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[torch.Tensor, ...]:
    return _by_own_statistics(x, weight, bias, training, momentum, eps)


def _trains(
    x: torch.Tensor,
    weight: Statistics,
    bias: Statistics,
    running_mean: Statistics,
    running_var: Statistics,
    training: bool,
    *_args: object,
) -> bool:
    """Whether the statistics of the batch count, although PyTorch's exporter takes the others."""
    return training or running_mean is None


TABLE: Table = {
    # PyTorch turns the first into one of the others before it looks for translations.
    _aten.batch_norm.default: Translation(_batch_norm, _trains),
    _aten.native_batch_norm.default: Translation(_without_changes, _trains),
    _aten._native_batch_norm_legit.no_stats: Translation(_by_own_statistics),
    _aten._native_batch_norm_legit.default: Translation(_without_changes, _trains),
    _aten._native_batch_norm_legit_functional.default: Translation(
        _with_running_statistics, _trains
    ),
}
