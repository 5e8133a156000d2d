"""GridSample, written as gathers of the neighbors of each place and a weighted sum of them."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.layout import Shape
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.registry import decomposition_of

MODES = {"bilinear": "linear", "bicubic": "cubic"}
"""Names of opset 16."""
CUBIC = -0.75
"""The coefficient of the cubic kernel (Keys 1981) that the standard states."""

Tap = tuple[ir.Value, ir.Value]
"""A neighbor along one axis: its index, int32 and inside the map, and its weight."""


@decomposition_of("GridSample")
def grid_sample(f: Decomposer) -> list[ir.Value]:
    """A GATHER of all channels at once for each neighbor, times its weight."""
    x, grid = f.input(0), f.input(1)
    n, channels, *spatial = f.shape(x)
    places = f.shape(grid)[1:-1]
    rank = len(spatial)
    taps = [_taps(f, grid, rank - 1 - axis, size) for axis, size in enumerate(spatial)]
    last = [0, *range(2, rank + 2), 1]
    rows = f("Reshape", f("Transpose", x, perm=last), [n * prod(spatial), channels])
    total: ir.Value | None = None
    for neighbors in product(*taps):
        picked = f("Gather", rows, _row(f, [index for index, _ in neighbors], n, tuple(spatial)))
        weight = neighbors[0][1]
        for _, factor in neighbors[1:]:
            weight = f("Mul", weight, factor)
        weighted = f("Mul", picked, f("Reshape", weight, [n * prod(places), 1]))
        total = weighted if total is None else f("Add", total, weighted)
    assert total is not None
    whole = f("Reshape", total, [n, *places, channels])
    return [f("Transpose", whole, perm=[0, rank + 1, *range(1, rank + 1)])]


def _row(f: Decomposer, indices: list[ir.Value], n: int, spatial: Shape) -> ir.Value:
    """The place in all maps together, for the indices along each axis of its own map."""
    row = indices[0]
    for index, size in zip(indices[1:], spatial[1:], strict=True):
        row = f("Add", f("Mul", row, np.int32(size)), index)
    if n > 1:
        starts = np.arange(n, dtype=np.int32) * prod(spatial)
        row = f("Add", row, starts.reshape(n, *[1] * len(spatial)))
    return f("Reshape", row, [-1])


def _taps(f: Decomposer, grid: ir.Value, column: int, size: int) -> list[Tap]:
    """The neighbors along one axis, with their weights."""
    mode = f.attributes.get_string("mode", "linear")
    mode = MODES.get(mode, mode)
    at = _coordinate(f, grid, column, size)
    if mode == "nearest":
        return [_tap(f, f("Round", _inside(f, at, size)), None, size)]
    if mode == "linear":
        at = _inside(f, at, size)
        low = f("Floor", at)
        share = f("Sub", at, low)
        return [
            _tap(f, low, f("Sub", 1.0, share), size),
            _tap(f, f("Add", low, 1.0), share, size),
        ]
    if mode != "cubic":
        raise f.unsupported(f"mode is {mode}", "use linear, nearest or cubic")
    low = f("Floor", at)
    share = f("Sub", at, low)
    return [
        _tap(
            f,
            _inside(f, f("Add", low, float(step)), size),
            _cubic(f, f("Abs", f("Sub", share, float(step))), near=step in (0, 1)),
            size,
        )
        for step in (-1, 0, 1, 2)
    ]


def _coordinate(f: Decomposer, grid: ir.Value, column: int, size: int) -> ir.Value:
    """A column of the grid, from -1 to 1, in units of elements."""
    at = f("Gather", grid, column, axis=-1)
    if f.attributes.get_int("align_corners", 0):
        return f("Mul", f("Add", at, 1.0), (size - 1) / 2)
    return f("Sub", f("Mul", f("Add", at, 1.0), size / 2), 0.5)


def _inside(f: Decomposer, at: ir.Value, size: int) -> ir.Value:
    """A coordinate brought into the map, by ``padding_mode``; zeros are put in later."""
    mode = f.attributes.get_string("padding_mode", "zeros")
    if mode == "zeros":
        return at
    if mode == "reflection":
        low = 0.0 if f.attributes.get_int("align_corners", 0) else -0.5
        span = size - 1 - 2 * low
        if span == 0:
            return f("Mul", at, 0.0)
        distance = f("Abs", f("Sub", at, low))
        turns = f("Floor", f("Mul", distance, 1 / (2 * span)))
        rest = f("Sub", distance, f("Mul", turns, 2 * span))
        at = f("Add", f("Sub", span, f("Abs", f("Sub", rest, span))), low)
    return f("Clip", at, 0.0, float(size - 1))


def _tap(f: Decomposer, at: ir.Value, weight: ir.Value | None, size: int) -> Tap:
    """A whole coordinate as an index; outside of the map its weight is 0."""
    if weight is None:
        weight = f("Add", f("Mul", at, 0.0), 1.0)
    limited = f("Clip", at, 0.0, float(size - 1))
    if f.attributes.get_string("padding_mode", "zeros") == "zeros":
        inside = f("Cast", f("Equal", at, limited), to=ir.DataType.FLOAT)
        weight = f("Mul", weight, inside)
    return f("Cast", limited, to=ir.DataType.INT32), weight


def _cubic(f: Decomposer, distance: ir.Value, *, near: bool) -> ir.Value:
    """The kernel at a distance of at most 1 (``near``), or of 1 to 2."""
    if near:
        inner = f("Sub", f("Mul", distance, CUBIC + 2), CUBIC + 3)
        return f("Add", f("Mul", inner, f("Mul", distance, distance)), 1.0)
    inner = f("Mul", f("Sub", distance, 5.0), CUBIC)
    inner = f("Add", f("Mul", inner, distance), 8 * CUBIC)
    return f("Sub", f("Mul", inner, distance), 4 * CUBIC)
