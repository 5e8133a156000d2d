"""Adaptive pools, whose windows are known because sizes are fixed, and pools with a divisor."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten
Window = tuple[int, int]  # start, length

_MAX_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVERAGE_POOL = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def windows(size: int, count: int) -> list[Window]:
    """The windows of an adaptive pool that makes ``count`` values of ``size``."""
    starts = [index * size // count for index in range(count)]
    ends = [-(-(index + 1) * size // count) for index in range(count)]
    return [(start, end - start) for start, end in zip(starts, ends, strict=True)]


def _is_even(x: torch.Tensor, counts: Sequence[int]) -> bool:
    return all(size % count == 0 for size, count in zip(_sides(x, counts), counts, strict=True))


def _sides(x: torch.Tensor, counts: Sequence[int]) -> tuple[int, ...]:
    return tuple(x.shape[-len(counts) :])


def _kernel(x: torch.Tensor, counts: Sequence[int]) -> list[int]:
    return [size // count for size, count in zip(_sides(x, counts), counts, strict=True)]


def _by_axis(
    x: torch.Tensor, counts: Sequence[int], reduce: Callable[..., torch.Tensor]
) -> torch.Tensor:
    """Reduce one axis after the other: a mean of means of equal count, or a maximum of maxima."""
    for axis, count in zip(range(-len(counts), 0), counts, strict=True):
        parts = [x.narrow(axis, *window) for window in windows(x.shape[axis], count)]
        x = torch.cat([reduce(part, dim=axis, keepdim=True) for part in parts], dim=axis)
    return x


def _average(x: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    if all(count == 1 for count in counts):
        return x.mean(list(range(-len(counts), 0)), keepdim=True)
    if _is_even(x, counts):
        kernel: Any = _kernel(x, counts)
        return _AVERAGE_POOL[len(counts)](x, kernel, kernel)
    return _by_axis(x, counts, torch.mean)


def _maximum(x: torch.Tensor, counts: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    if _is_even(x, counts):
        kernel: Any = _kernel(x, counts)
        values, indices = _MAX_POOL[len(counts)](x, kernel, kernel, return_indices=True)
        return values, indices
    return _by_axis(x, counts, torch.amax), _places(x, counts)


def _places(x: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Where in the flat map each window has its first maximum."""
    sides = _sides(x, counts)
    flat = torch.arange(torch.Size(sides).numel()).reshape(sides)
    found = []
    axes = [windows(size, count) for size, count in zip(sides, counts, strict=True)]
    for box in itertools.product(*axes):
        part, places = x, flat
        for axis, window in zip(range(-len(counts), 0), box, strict=True):
            part, places = part.narrow(axis, *window), places.narrow(axis, *window)
        first = part.flatten(-len(counts)).argmax(-1, keepdim=True)
        found.append(places.flatten()[first])
    return torch.cat(found, dim=-1).reshape(*x.shape[: -len(counts)], *counts)


def _needs_parts(x: torch.Tensor, counts: Sequence[int]) -> bool:
    """The exporter itself writes even averages of one and two dimensions."""
    return not _is_even(x, counts)


def _divided(
    rank: int,
    x: torch.Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> torch.Tensor:
    """An average pool by a divisor of the user's, which the exporter ignores."""
    kernel, border = ([*each] * (rank // len(each)) for each in (kernel_size, padding))
    steps = [*stride] * (rank // max(1, len(stride))) or kernel
    pads: list[int] = []
    for size, width, step, pad in zip(x.shape[-rank:], kernel, steps, border, strict=True):
        room = size + 2 * pad - width
        count = (-(-room // step) if ceil_mode else room // step) + 1
        if ceil_mode and (count - 1) * step >= size + pad:
            count -= 1  # a window may not begin in the padding behind
        pads = [pad, max(pad, (count - 1) * step + width - size - pad), *pads]
    averages = _AVERAGE_POOL[rank](functional.pad(x, pads), kernel, steps)
    assert divisor_override is not None
    result: torch.Tensor = averages * (math.prod(kernel) / divisor_override)
    return result


def _has_divisor(
    x: torch.Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> bool:
    return divisor_override is not None


TABLE: Table = {
    _aten.avg_pool2d.default: Translation(partial(_divided, 2), _has_divisor),
    _aten.avg_pool3d.default: Translation(partial(_divided, 3), _has_divisor),
    _aten.adaptive_avg_pool1d.default: Translation(_average, _needs_parts),
    _aten.adaptive_avg_pool2d.default: Translation(_average, _needs_parts),
    _aten.adaptive_avg_pool3d.default: Translation(_average),
    _aten.adaptive_max_pool1d.default: Translation(_maximum),
    _aten.adaptive_max_pool2d.default: Translation(_maximum),
    _aten.adaptive_max_pool3d.default: Translation(_maximum),
}
