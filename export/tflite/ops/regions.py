"""Operators that sample a map at computed places, or that assemble a map of windows."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.registry import decomposition_of


@decomposition_of("Col2Im")
def col2im(f: Decomposer) -> list[ir.Value]:
    """A transposed convolution that puts each element of a window to its place."""
    x = f.input(0)
    image = [int(size) for size in f.demand(1, "image_shape")]
    block = [int(size) for size in f.demand(2, "block_shape")]
    rank = len(image)
    n, rows, _ = f.shape(x)
    taps = prod(block)
    channels = rows // taps
    ones, zeros = (1,) * rank, (0,) * (2 * rank)
    strides, dilations = (
        f.attributes.get_ints("strides", ones),
        f.attributes.get_ints("dilations", ones),
    )
    pads = f.attributes.get_ints("pads", zeros)
    reach = [step * (size - 1) + 1 for step, size in zip(dilations, block, strict=True)]
    room = [image[a] + pads[a] + pads[a + rank] - reach[a] for a in range(rank)]
    counts = [room[a] // strides[a] + 1 for a in range(rank)]
    weight = np.tile(np.eye(taps, dtype=np.float32), (channels, 1)).reshape(rows, 1, *block)
    windows = f("Reshape", x, [n, rows, *counts])
    options = {"strides": [*strides], "dilations": [*dilations], "pads": [*pads]}
    extra = [room[a] % strides[a] for a in range(rank)]
    return [f("ConvTranspose", windows, weight, group=channels, output_padding=extra, **options)]


Neighbors = list[tuple[ir.Value, ir.Value]]
"""The elements around coordinates along one axis: int32 indices inside the map, and weights."""


def _weighted(
    f: Decomposer, rows: ir.Value, start: ir.Value, ys: Neighbors, xs: Neighbors, width: int
) -> list[ir.Value]:
    """Compute the four elements around each sample times their weights, each samples x channels.

    Args:
        f: The node.
        rows: The elements of all maps, places x channels.
        start: The place at which the map of each sample begins, int32.
        ys: Neighbors along the height, of shapes that broadcast to the samples.
        xs: Neighbors along the width, likewise.
        width: The width of a map.
    """
    terms = []
    for index_y, weight_y in ys:
        for index_x, weight_x in xs:
            place = f("Add", f("Mul", index_y, np.int32(width)), index_x)
            place = f("Reshape", f("Add", place, start), [-1])
            weight = f("Reshape", f("Mul", weight_y, weight_x), [-1, 1])
            terms.append(f("Mul", f("Gather", rows, place), weight))
    return terms


def _neighbors(f: Decomposer, at: ir.Value, size: int) -> Neighbors:
    """The two elements around each coordinate, and their weights: 0 for those outside."""
    low = f("Floor", at)
    share = f("Sub", at, low)
    found = []
    for place, weight in ((low, f("Sub", 1.0, share)), (f("Add", low, 1.0), share)):
        inside = f("Clip", place, 0.0, float(size - 1))
        counts = f("Cast", f("Equal", place, inside), to=int(ir.DataType.FLOAT))
        index = f("Cast", inside, to=int(ir.DataType.INT32))
        found.append((index, f("Mul", weight, counts)))
    return found


@decomposition_of("DeformConv")
def deform_conv(f: Decomposer) -> list[ir.Value]:
    """Samples of the map for each element of the kernel, times the weight."""
    x, weight, offset = f.input(0), f.input(1), f.input(2)
    n, channels, height, width = f.shape(x)
    units, depth, *kernel = f.shape(weight)
    group, sets = f.attributes.get_int("group", 1), f.attributes.get_int("offset_group", 1)
    strides, dilations = (
        f.attributes.get_ints("strides", (1, 1)),
        f.attributes.get_ints("dilations", (1, 1)),
    )
    pads = f.attributes.get_ints("pads", (0, 0, 0, 0))
    out = f.shape(offset)[2:]
    taps, each = prod(kernel), channels // sets
    # Offsets as N x sets x taps x (y, x) x H x W, around where a convolution would look.
    given = f("Reshape", offset, [n, sets, taps, 2, *out])
    plain = np.indices((*kernel, *out)).astype(np.float32)
    places = [
        plain[axis] * dilations[axis] + plain[axis + 2] * strides[axis] - pads[axis]
        for axis in (0, 1)
    ]
    y, z = (
        f("Add", f("Gather", given, axis, axis=3), places[axis].reshape(1, 1, taps, *out))
        for axis in (0, 1)
    )
    maps = f("Reshape", x, [n, sets, each, height * width])
    rows = f("Reshape", f("Transpose", maps, perm=[0, 1, 3, 2]), [-1, each])
    start = np.arange(n * sets, dtype=np.int32).reshape(n, sets, 1, 1, 1) * (height * width)
    ys, xs = _neighbors(f, y, height), _neighbors(f, z, width)
    samples = f("Sum", *_weighted(f, rows, f("Identity", start), ys, xs, width))
    if not f.missing(4):
        samples = f("Mul", samples, f("Reshape", f.input(4), [-1, 1]))
    # N, H, W, then set and channel, then tap: as the weight has its channels and taps.
    whole = f("Reshape", samples, [n, sets, taps, *out, each])
    columns = f("Transpose", whole, perm=[0, 3, 4, 1, 5, 2])
    columns = f("Reshape", columns, [n * prod(out), group, depth * taps])
    matrices = f("Reshape", weight, [group, units // group, depth * taps])
    matrices = f("Transpose", matrices, perm=[0, 2, 1])
    parts = [
        f("MatMul", f("Gather", columns, index, axis=1), f("Gather", matrices, index, axis=0))
        for index in range(group)
    ]
    result = f("Concat", *parts, axis=1) if group > 1 else parts[0]
    if not f.missing(3):
        result = f("Add", result, f.input(3))
    return [f("Transpose", f("Reshape", result, [n, *out, units]), perm=[0, 3, 1, 2])]


@decomposition_of("RoiAlign")
def roi_align(f: Decomposer) -> list[ir.Value]:
    """Samples of the map in each bin of each region, and their mean or maximum."""
    x, rois, batches = f.input(0), f.input(1), f.input(2)
    _, channels, height, width = f.shape(x)
    count = f.shape(rois)[0]
    bins = f.attributes.get_int("output_height", 1), f.attributes.get_int("output_width", 1)
    ratio = f.attributes.get_int("sampling_ratio", 0)
    if ratio < 1:
        raise f.unsupported(
            "the size of its regions decides how often they are sampled", "set sampling_ratio"
        )
    largest = f.attributes.get_string("mode", "avg") == "max"
    mode = f.attributes.get_string(
        "coordinate_transformation_mode", "half_pixel" if f.version >= 16 else ""
    )
    half = 0.5 if mode == "half_pixel" else 0.0
    scaled = f("Sub", f("Mul", rois, f.attributes.get_float("spatial_scale", 1.0)), half)
    left, top, right, bottom = (
        f("Reshape", f("Gather", scaled, index, axis=1), [count, 1]) for index in range(4)
    )
    ys, xs = (
        _bins(f, low, high, ratio * number, size, half)
        for low, high, number, size in (
            (top, bottom, bins[0], height),
            (left, right, bins[1], width),
        )
    )
    columns, lines = (
        [(f("Unsqueeze", index, [axis]), f("Unsqueeze", weight, [axis])) for index, weight in pairs]
        for axis, pairs in ((2, ys), (1, xs))
    )
    flat = f("Reshape", x, [f.shape(x)[0], channels, height * width])
    rows = f("Reshape", f("Transpose", flat, perm=[0, 2, 1]), [-1, channels])
    first = f("Cast", batches, to=int(ir.DataType.INT32))
    start = f("Reshape", f("Mul", first, np.int32(height * width)), [count, 1, 1])
    terms = _weighted(f, rows, start, columns, lines, width)
    sizes = [count, bins[0], ratio, bins[1], ratio, channels]
    # The standard's maximum is that of the weighted elements, not of the samples.
    combine, reduce = ("Max", "ReduceMax") if largest else ("Sum", "ReduceMean")
    pooled = f(reduce, f("Reshape", f(combine, *terms), sizes), [2, 4], keepdims=0)
    return [f("Transpose", pooled, perm=[0, 3, 1, 2])]


def _bins(
    f: Decomposer, low: ir.Value, high: ir.Value, count: int, size: int, half: float
) -> Neighbors:
    """Compute the neighbors of ``count`` samples between ``low`` and ``high``.

    Those near the border are moved into the map; those farther away count nothing.
    """
    extent = f("Sub", high, low)
    if not half:
        extent = f("Max", extent, 1.0)
    share = ((np.arange(count) + 0.5) / count).astype(np.float32).reshape(1, count)
    at = f("Add", low, f("Mul", extent, share))
    inside = f("Equal", at, f("Clip", at, -1.0, float(size)))
    counts = f("Cast", inside, to=int(ir.DataType.FLOAT))
    moved = f("Clip", at, 0.0, float(size - 1))
    return [(index, f("Mul", weight, counts)) for index, weight in _neighbors(f, moved, size)]
