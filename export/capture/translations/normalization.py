"""Batch normalization by the statistics of the batch itself."""

from __future__ import annotations

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten
Statistics = torch.Tensor | None


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
    shape = [1, -1] + [1] * (x.dim() - 2)
    axes = [0, *range(2, x.dim())]
    centered = x - x.mean(axes, keepdim=True)
    result = centered * (centered.square().mean(axes, keepdim=True) + eps).rsqrt()
    if weight is not None:
        result = result * weight.reshape(shape)
    return result if bias is None else result + bias.reshape(shape)


def _has_no_statistics(
    x: torch.Tensor, weight: Statistics, bias: Statistics, running_mean: Statistics, *_args: object
) -> bool:
    return running_mean is None


TABLE: Table = {_aten.batch_norm.default: Translation(_batch_norm, _has_no_statistics)}
