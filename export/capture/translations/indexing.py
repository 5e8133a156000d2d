"""Assignment of known values under a boolean mask, which becomes Where, and writing by indices."""

from __future__ import annotations

from typing import Any

import torch

from edgeconv.export.capture.translations.assignment import Indices, has_int32, in_int64
from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten


def _put(
    x: torch.Tensor, indices: Indices, values: torch.Tensor, accumulate: bool = False
) -> torch.Tensor:
    if has_int32(indices):
        result: torch.Tensor = _aten.index_put.default(x, in_int64(indices), values, accumulate)
        return result
    mask = indices[-1]
    assert mask is not None
    before = len(indices) - 1
    after = x.dim() - before - mask.dim()
    if values.dim() > after:
        selected = values.dim() - after - 1
        first, rest = values.shape[:selected], values.shape[selected + 1 :]
        if values.shape[selected] == 1:  # one value serves all places
            values = values.reshape(*first, *[1] * mask.dim(), *rest)
        else:
            spread = values.index_select(selected, _turns(mask, values.shape[selected]))
            values = spread.reshape(*first, *mask.shape, *rest)
    chosen = mask.reshape(*[1] * before, *mask.shape, *[1] * after)
    return torch.where(chosen, x + values if accumulate else values, x)


def _needs_translation(
    x: torch.Tensor, indices: Indices, values: torch.Tensor, accumulate: bool = False
) -> bool:
    return has_int32(indices) or _is_mask(x, indices, values, accumulate)


def _turns(mask: torch.Tensor, count: int) -> torch.Tensor:
    """For each place, which of ``count`` values is its own if the mask selects it."""
    return (mask.flatten().to(torch.int64).cumsum(0) - 1).clamp(0, count - 1)


def _is_mask(
    x: torch.Tensor, indices: Indices, values: torch.Tensor, accumulate: bool = False
) -> bool:
    """Whether one mask, after nothing but whole dimensions, is given values of a known number."""
    mask = indices[-1]
    if mask is None or mask.dtype != torch.bool or any(i is not None for i in indices[:-1]):
        return False
    return _is_static(values) and 0 not in values.shape


def _scattered(x: torch.Tensor, mask: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    shape = torch.broadcast_shapes(x.shape, mask.shape)  # type: ignore[no-untyped-call]
    mask = mask.expand(shape)
    values = source.flatten().index_select(0, _turns(mask, source.numel()))
    return torch.where(mask, values.reshape(shape), x)


def _is_known(x: torch.Tensor, mask: torch.Tensor, source: torch.Tensor) -> bool:
    return _is_static(source) and source.numel() > 0


def _is_static(value: torch.Tensor) -> bool:
    return all(isinstance(size, int) for size in value.shape)


def _as_large(source: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The part of ``source`` that a scatter reads; ONNX wants no more."""
    for dim, size in enumerate(index.shape):
        source = source.narrow(dim, 0, size)
    return source


def _of_its_part(operator: Any) -> Translation:
    def function(
        x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor, *more: Any, **kw: Any
    ) -> torch.Tensor:
        result: torch.Tensor = operator(x, dim, index, _as_large(source, index), *more, **kw)
        return result

    def applies(
        x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor, *more: Any, **kw: Any
    ) -> bool:
        return source.shape != index.shape and index.dim() > 0

    return Translation(function, applies)


def _reduced(
    x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor | float, *, reduce: str
) -> torch.Tensor:
    """The older form of ``scatter_reduce``, which also takes a number."""
    if not isinstance(source, torch.Tensor):
        source = torch.full(index.shape, source, dtype=x.dtype)
    source = _as_large(source, index)
    return x.scatter_reduce(dim, index, source, {"add": "sum", "multiply": "prod"}[reduce])


def _scatter_reduce(
    x: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> torch.Tensor:
    if index.dim() > 0:
        source = _as_large(source, index)
    if reduce != "mean":
        return x.scatter_reduce(dim, index, source, reduce, include_self=include_self)
    own = torch.ones_like(x) if include_self else torch.zeros_like(x)
    count = own.scatter_add(dim, index, torch.ones_like(source))
    total = (x * own).scatter_add(dim, index, source)
    if not x.is_floating_point():
        return torch.where(count > 0, total.div(count.clamp(min=1), rounding_mode="floor"), x)
    return torch.where(count > 0, total / count.clamp(min=1), x)


def _is_mean_or_of_a_part(
    x: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> bool:
    """The exporter writes a mean as a sum."""
    return reduce == "mean" or (source.shape != index.shape and index.dim() > 0)


def _index_reduce(
    x: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> torch.Tensor:
    if x.dim() == 0:  # ONNX scatters along a dimension that is there
        whole = x.reshape(1), index.reshape(1), source.reshape(1)
        result = _index_reduce(whole[0], 0, *whole[1:], reduce, include_self=include_self)
        return result.reshape(())
    shape = [1] * source.dim()
    shape[dim] = -1
    index = index.to(torch.int64).reshape(shape).expand(source.shape)
    return _scatter_reduce(x, dim, index, source, reduce, include_self=include_self)


TABLE: Table = {
    _aten.index_put.default: Translation(_put, _needs_translation),
    _aten.masked_scatter.default: Translation(_scattered, _is_known),
    _aten.scatter.src: _of_its_part(_aten.scatter.src),
    _aten.scatter_add.default: _of_its_part(_aten.scatter_add.default),
    _aten.scatter_reduce.two: Translation(_scatter_reduce, _is_mean_or_of_a_part),
    _aten.index_reduce.default: Translation(_index_reduce),
    _aten.scatter.reduce: Translation(_reduced),
    _aten.scatter.value_reduce: Translation(_reduced),
}
