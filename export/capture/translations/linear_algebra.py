"""Inverses and solutions of small linear systems, by elimination with pivots, and Cholesky."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten
# Each row takes about ten operators. Larger systems are refused by the operator's name.
_LARGEST = 16


def _solve(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Solve ``a @ x = b`` by Gauss-Jordan elimination.

    Rows stay where they are: each column takes the unused row with its largest value as pivot,
    and in the end the rows are put in order.
    """
    size = a.shape[-1]
    columns = b.shape[-1]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    rows = torch.cat([a.expand(*batch, size, size), b.expand(*batch, size, columns)], dim=-1)
    places = torch.arange(size)
    free = torch.ones_like(rows[..., 0])
    order = []
    for column in range(size):
        values = rows[..., column]
        # A used row counts as less than every magnitude.
        best = (values.abs() * free + (free - 1)).argmax(-1, keepdim=True)
        pivot = (places == best).to(a.dtype)
        free = free * (1 - pivot)
        row = (pivot.unsqueeze(-1) * rows).sum(-2, keepdim=True)
        row = row / row[..., column : column + 1]
        keep = (1 - pivot).unsqueeze(-1)
        rows = keep * (rows - values.unsqueeze(-1) * row) + pivot.unsqueeze(-1) * row
        order.append(pivot)
    return torch.stack(order, dim=-2) @ rows[..., size:]


def _inverse(a: torch.Tensor) -> torch.Tensor:
    return _solve(a, torch.eye(a.shape[-1], dtype=a.dtype))


def _inverse_ex(
    a: torch.Tensor, *, check_errors: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    return _inverse(a), torch.zeros(a.shape[:-2], dtype=torch.int32)


def _solve_ex(
    a: torch.Tensor, b: torch.Tensor, *, left: bool = True, check_errors: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    return _linalg_solve(a, b, left=left), torch.zeros(a.shape[:-2], dtype=torch.int32)


def _cholesky_ex(
    a: torch.Tensor, *, upper: bool = False, check_errors: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """One column after the other, of what the columns before it leave."""
    size = a.shape[-1]
    rest = a.mH if upper else a
    columns = []
    for index in range(size):
        column = rest[..., index] / rest[..., index, index].sqrt().unsqueeze(-1)
        column = torch.where(torch.arange(size) >= index, column, 0.0)
        columns.append(column)
        rest = rest - column.unsqueeze(-1) * column.unsqueeze(-2)
    lower = torch.stack(columns, dim=-1)
    return lower.mT if upper else lower, torch.zeros(a.shape[:-2], dtype=torch.int32)


def _linalg_cholesky(a: torch.Tensor, *, upper: bool = False) -> torch.Tensor:
    return _cholesky_ex(a, upper=upper)[0]


def _cholesky(a: torch.Tensor, upper: bool = False) -> torch.Tensor:
    return _cholesky_ex(a, upper=upper)[0]


def _cholesky_solve(b: torch.Tensor, factor: torch.Tensor, upper: bool = False) -> torch.Tensor:
    # As PyTorch does, it reads one triangle of the factor only.
    lower = factor.mT.tril() if upper else factor.tril()
    whole = lower @ lower.mT
    return _solve(whole, b)


def _linalg_solve(a: torch.Tensor, b: torch.Tensor, *, left: bool = True) -> torch.Tensor:
    if _is_vector(a, b):
        return _solve(a, b.unsqueeze(-1)).squeeze(-1)
    return _solve(a, b) if left else _solve(a.mT, b.mT).mT


def _is_vector(a: torch.Tensor, b: torch.Tensor) -> bool:
    """PyTorch's own rule for what the right-hand side is."""
    return b.dim() == 1 or (a.dim() - 1 == b.dim() and b.shape == a.shape[:-1])


def _is_small(a: torch.Tensor, *_args: Any, **_kwargs: Any) -> bool:
    return a.shape[-1] <= _LARGEST


TABLE: Table = {
    _aten.linalg_inv.default: Translation(_inverse, _is_small),
    _aten.linalg_inv_ex.default: Translation(_inverse_ex, _is_small),
    _aten.inverse.default: Translation(_inverse, _is_small),
    _aten.linalg_solve.default: Translation(_linalg_solve, _is_small),
    _aten.linalg_solve_ex.default: Translation(_solve_ex, _is_small),
    _aten.linalg_cholesky.default: Translation(_linalg_cholesky, _is_small),
    _aten.linalg_cholesky_ex.default: Translation(_cholesky_ex, _is_small),
    _aten.cholesky_solve.default: Translation(_cholesky_solve, _is_small),
}
if hasattr(_aten, "cholesky"):  # torch 2.14 has no torch.cholesky any more
    TABLE[_aten.cholesky.default] = Translation(_cholesky, _is_small)
