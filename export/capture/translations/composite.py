"""Functions of PyTorch that read values of tensors on the way, so that no trace gets through."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def _cov(
    x: torch.Tensor,
    *,
    correction: int = 1,
    fweights: torch.Tensor | None = None,
    aweights: torch.Tensor | None = None,
) -> torch.Tensor:
    """PyTorch compares the norm with 0 in order to warn."""
    rows = x.reshape(1, -1) if x.dim() < 2 else x
    given = [weights for weights in (fweights, aweights) if weights is not None]
    weight = torch.ones(rows.shape[1]) if len(given) < 1 else given[0].to(rows.dtype)
    if len(given) == 2:
        weight = weight * given[1]
    total = weight.sum()
    norm = total - correction
    if aweights is not None and correction:
        norm = total - correction * (weight * aweights).sum() / total
    apart = rows - ((rows * weight).sum(1) / total).unsqueeze(1)
    return ((apart @ (apart * weight).T) / norm.clamp(min=0)).squeeze()


def _corrcoef(x: torch.Tensor) -> torch.Tensor:
    covariance = _cov(x)
    if covariance.dim() == 0:
        return covariance / covariance
    deviation = covariance.diagonal().sqrt()
    return (covariance / deviation.unsqueeze(1) / deviation.unsqueeze(0)).clamp(-1, 1)


def _combinations(x: torch.Tensor, r: int = 2, with_replacement: bool = False) -> torch.Tensor:
    """PyTorch selects them under a mask."""
    chosen = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = torch.tensor([*chosen(range(x.shape[0]), r)], dtype=torch.int64)
    return x[places.reshape(-1, r)]


def _gaussian_nll_loss(
    x: torch.Tensor,
    target: torch.Tensor,
    var: torch.Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> torch.Tensor:
    """PyTorch looks for a negative variance first."""
    spread = torch.as_tensor(var, dtype=x.dtype).expand_as(x) if isinstance(var, float) else var
    if spread.dim() == x.dim() - 1:
        spread = spread.unsqueeze(-1)
    spread = spread.clamp(min=eps)
    loss = 0.5 * (spread.log() + (x - target) ** 2 / spread)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


_FUNCTIONS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    torch.cov: _cov,
    torch.Tensor.cov: _cov,
    torch.corrcoef: _corrcoef,
    torch.Tensor.corrcoef: _corrcoef,
    torch.combinations: _combinations,
    functional.gaussian_nll_loss: _gaussian_nll_loss,
}


class Traceable(TorchFunctionMode):
    """Within it, such functions are computed by others that can be traced."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call ``func``, or what stands for it."""
        return _FUNCTIONS.get(func, func)(*args, **(kwargs or {}))
