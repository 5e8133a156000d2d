"""Cross entropies: with smoothed labels, with a share for each class, and of two classes."""

from __future__ import annotations

import torch

from edgeconv.export.capture.translations.pointwise import log1p
from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten

_MEAN, _SUM = 1, 2  # the numbers of the reductions in ATen
_LEAST_LOG = -100.0  # PyTorch's own bound of a logarithm, by which the loss stays finite


def _cross_entropy(
    x: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    reduction: int = _MEAN,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """The loss as PyTorch defines it, of scores [classes] or [batch, classes, ...]."""
    axis = min(1, x.dim() - 1)
    logs = torch.log_softmax(x, axis)
    classes = x.shape[axis]
    weighed = logs
    if weight is not None:
        weighed = logs * weight.reshape([-1] + [1] * (x.dim() - 1 - axis))
    if target.is_floating_point():
        shares = target * (1 - label_smoothing) + label_smoothing / classes
        loss = -(weighed * shares).sum(axis)
        count = torch.full((), max(1, x.numel() // classes), dtype=x.dtype)
        return _reduced(loss, count, reduction)
    counts = target != ignore_index
    known = torch.where(counts, target, 0).unsqueeze(axis)
    own = -weighed.gather(axis, known).squeeze(axis)
    every = -weighed.sum(axis)
    loss = own * (1 - label_smoothing) + every * (label_smoothing / classes)
    loss = torch.where(counts, loss, 0.0)
    each = 1.0 if weight is None else weight[known.squeeze(axis)]
    parts = torch.where(counts, each, 0.0)
    return _reduced(loss, parts.sum(), reduction)


def _binary_cross_entropy(
    x: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    reduction: int = _MEAN,
) -> torch.Tensor:
    """The loss with log1p(-x), as PyTorch's kernel has it; its decomposition rounds 1 - x."""
    on, off = x.log().clamp(min=_LEAST_LOG), log1p(-x).clamp(min=_LEAST_LOG)
    loss = (target - 1) * off - target * on
    if weight is not None:
        loss = loss * weight
    return loss.mean() if reduction == _MEAN else _reduced(loss, loss, reduction)


def _reduced(loss: torch.Tensor, count: torch.Tensor, reduction: int) -> torch.Tensor:
    if reduction == _MEAN:
        return loss.sum() / count
    return loss.sum() if reduction == _SUM else loss


def _is_smoothed(
    x: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    reduction: int = _MEAN,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> bool:
    """Whether ONNX's operator, which knows classes only, is not for it."""
    return label_smoothing != 0 or target.is_floating_point()


TABLE: Table = {
    _aten.cross_entropy_loss.default: Translation(_cross_entropy, _is_smoothed),
    _aten.binary_cross_entropy.default: Translation(_binary_cross_entropy),
}
