"""Other names of binary operators: the exporter writes them without the promotion of types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten


def _promoting(own: Callable[..., torch.Tensor]) -> Translation:
    def applies(x: Any, y: Any, **_options: Any) -> bool:
        return isinstance(y, torch.Tensor) and x.dtype != y.dtype

    return Translation(own, applies)


TABLE: Table = {
    _aten.divide.Tensor: _promoting(torch.div),
    _aten.divide.Tensor_mode: _promoting(torch.div),
    _aten.true_divide.Tensor: _promoting(torch.div),
    _aten.multiply.Tensor: _promoting(torch.mul),
    _aten.subtract.Tensor: _promoting(torch.sub),
    _aten.greater.Tensor: _promoting(torch.gt),
    _aten.greater_equal.Tensor: _promoting(torch.ge),
    _aten.less.Tensor: _promoting(torch.lt),
    _aten.less_equal.Tensor: _promoting(torch.le),
    _aten.not_equal.Tensor: _promoting(torch.ne),
}
