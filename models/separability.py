"""Is a trained kernel spatially separable? The singular values say so.

A k x k kernel is a column times a row exactly where it has rank one. Its singular value
decomposition gives the best approximation by r such products (Eckart and Young 1936), and the
energy, the sum of squared weights, that it keeps. Sironi et al. 2015 and Jaderberg et al. 2014
(arXiv:1405.3866) speed networks up that way.
"""

from __future__ import annotations

import torch
from torch import Tensor


def energy_by_rank(weight: Tensor) -> Tensor:
    """Share of each kernel's energy that the best approximation of rank 1, 2, ... keeps.

    Args:
        weight: (..., kh, kw), as (M, C / groups, kh, kw) of ``nn.Conv2d``.

    Returns:
        (..., min(kh, kw)), rising to 1; all ones for a kernel of zeros.
    """
    squares = torch.linalg.svdvals(weight.detach().double()) ** 2
    total = squares.sum(dim=-1, keepdim=True)
    kept = squares.cumsum(dim=-1) / total.clamp(min=torch.finfo(squares.dtype).tiny)
    return torch.where(total > 0, kept, torch.ones_like(kept))


def is_spatially_separable(weight: Tensor, tolerance: float = 1e-6) -> bool:
    """Whether every kernel is a column times a row, up to a share ``tolerance`` of its energy."""
    return bool((energy_by_rank(weight)[..., 0] >= 1 - tolerance).all())


def separate(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The column (..., kh, 1) and the row (..., 1, kw) whose product is nearest to each kernel."""
    u, s, vh = torch.linalg.svd(weight.detach().double(), full_matrices=False)
    root = s[..., :1].sqrt()
    column = (u[..., :, 0] * root).unsqueeze(-1)
    row = (vh[..., 0, :] * root).unsqueeze(-2)
    return column.to(weight.dtype), row.to(weight.dtype)
