"""Arithmetic on truth values, which ONNX and the runtimes do on numbers only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten

Operand = torch.Tensor | float


def _are_booleans(x: Operand, y: Operand, **_options: object) -> bool:
    return torch.result_type(x, y) == torch.bool


def _add(x: torch.Tensor, y: Operand, *, alpha: float = 1) -> torch.Tensor:
    """The logical or, as PyTorch computes it."""
    other = y if isinstance(y, torch.Tensor) else torch.full((), y, dtype=torch.bool)
    return torch.logical_or(x, other if alpha else torch.zeros_like(other))


def _pow(x: torch.Tensor, y: Operand) -> torch.Tensor:
    return x.to(torch.result_type(x, y)).pow(y)


def _is_power_of_booleans(x: Operand, y: Operand) -> bool:
    return (
        isinstance(x, torch.Tensor)
        and x.dtype == torch.bool
        and torch.result_type(x, y) != torch.bool
    )


def _where(condition: torch.Tensor, yes: torch.Tensor, no: torch.Tensor) -> torch.Tensor:
    return (condition & yes) | (~condition & no)


def _are_choices(condition: torch.Tensor, yes: torch.Tensor, no: torch.Tensor) -> bool:
    return yes.dtype == no.dtype == torch.bool


def _in_integers(
    reduce: Callable[..., tuple[torch.Tensor, torch.Tensor]],
) -> Translation:
    """A choice of elements with their places."""

    def function(
        x: torch.Tensor, *args: object, **options: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        values, places = reduce(x.int(), *args, **options)
        return values != 0, places

    return Translation(function, _is_boolean)


def _is_boolean(x: torch.Tensor, *_args: object, **_options: object) -> bool:
    return x.dtype == torch.bool


def _any_of_none(
    x: torch.Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False
) -> torch.Tensor:
    """False; the exporter takes the least number for the largest one of none, which is true."""
    given = [dim] if isinstance(dim, int) else dim
    dims = [*range(x.dim())] if given is None else [*given]
    return x.to(torch.int32).sum(dims, keepdim) != 0


def _is_empty(x: torch.Tensor, *_args: object, **_options: object) -> bool:
    return x.numel() == 0


TABLE: Table = {
    _aten.add.Tensor: Translation(_add, _are_booleans),
    _aten.pow.Tensor_Scalar: Translation(_pow, _is_power_of_booleans),
    _aten.pow.Tensor_Tensor: Translation(_pow, _is_power_of_booleans),
    _aten.where.self: Translation(_where, _are_choices),
    _aten.max.dim: _in_integers(torch.max),
    _aten.min.dim: _in_integers(torch.min),
    _aten.any.default: Translation(_any_of_none, _is_empty),
    _aten.any.dim: Translation(_any_of_none, _is_empty),
    _aten.any.dims: Translation(_any_of_none, _is_empty),
}
