"""The largest and smallest value of a whole tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten
Extreme = Callable[[torch.Tensor], torch.Tensor]


def _over_all(extreme: Extreme) -> Translation:
    def function(x: torch.Tensor, dim: Sequence[int] = (), keepdim: bool = False) -> torch.Tensor:
        return extreme(x).reshape([1] * x.dim() if keepdim else [])

    def applies(x: torch.Tensor, dim: Sequence[int] = (), keepdim: bool = False) -> bool:
        return not dim

    return Translation(function, applies)


TABLE: Table = {
    _aten.amax.default: _over_all(torch.max),
    _aten.amin.default: _over_all(torch.min),
}
