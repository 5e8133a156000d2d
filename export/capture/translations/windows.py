"""Windows of audio front ends, and the sum of frames that overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten


def _hamming(length: int, **options: Any) -> torch.Tensor:
    """0.54 and 0.46, where ONNX's own HammingWindow has 25/46 and 21/46."""
    turns = torch.arange(length, dtype=torch.float32) * (2 * math.pi / length)
    window = 0.54 - 0.46 * turns.cos()
    dtype = options.get("dtype")
    return window if dtype is None else window.to(dtype)


def _overlap_add(
    frames: torch.Tensor, sizes: Sequence[int], dim: int, size: int, step: int
) -> torch.Tensor:
    """The transposed ``unfold``, as the inverse short-time transform has it."""
    dim = dim % len(sizes)
    count = frames.shape[dim]
    places = (torch.arange(count) * step).unsqueeze(1) + torch.arange(size)
    rows = frames.movedim(-1, dim + 1).flatten(dim, dim + 1)
    zeros = torch.zeros(list(sizes), dtype=frames.dtype)
    return zeros.index_add(dim, places.reshape(-1), rows)


TABLE: Table = {
    _aten.hamming_window.default: Translation(_hamming),
    _aten.unfold_backward.default: Translation(_overlap_add),
}
