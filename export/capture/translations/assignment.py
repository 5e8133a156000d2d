"""Assignment to a part of a tensor: values that broadcast, indices in int32, diagonals."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten
Indices = Sequence[torch.Tensor | None]


def _copy(x: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """The exporter's own translation does not broadcast."""
    return source.to(x.dtype).expand(x.shape).clone()


def _broadcasts(x: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> bool:
    return x.shape != source.shape


def in_int64(indices: Indices) -> list[torch.Tensor | None]:
    """Indices in the type that GatherND and ScatterND take."""
    return [
        index.to(torch.int64) if index is not None and index.dtype == torch.int32 else index
        for index in indices
    ]


def has_int32(indices: Indices) -> bool:
    """Whether an index is int32, which the exporter writes as it is."""
    return any(index is not None and index.dtype == torch.int32 for index in indices)


def _index(x: torch.Tensor, indices: Indices) -> torch.Tensor:
    result: torch.Tensor = _aten.index.Tensor(x, in_int64(indices))
    return result


def _index_is_int32(x: torch.Tensor, indices: Indices) -> bool:
    return has_int32(indices)


def _diagonal(
    x: torch.Tensor, source: torch.Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> torch.Tensor:
    """Scatter into the last two dimensions as one."""
    last = x.movedim((dim1, dim2), (-2, -1))
    rows, columns = last.shape[-2:]
    first = max(offset, 0) + max(-offset, 0) * columns
    places = first + torch.arange(source.shape[-1]) * (columns + 1)
    flat = last.reshape(*last.shape[:-2], rows * columns)
    put = flat.scatter(-1, places.expand(source.shape), source.to(x.dtype))
    return put.reshape(last.shape).movedim((-2, -1), (dim1, dim2))


TABLE: Table = {
    _aten.copy.default: Translation(_copy, _broadcasts),
    _aten.index.Tensor: Translation(_index, _index_is_int32),
    _aten.diagonal_scatter.default: Translation(_diagonal),
}
