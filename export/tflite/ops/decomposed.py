"""Operators that are short when written as others: of elements, rows and windows."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.registry import decomposition_of

BYTES = ir.DataType.INT8, ir.DataType.UINT8
INTEGERS = {ir.DataType.INT32, ir.DataType.INT64}
Results = list[ir.Value]


def second_output_used(call: Call) -> bool:
    """Select nodes whose second output is read."""
    return any(value.is_graph_output() or value.consumers() for value in call.node.outputs[1:])


@decomposition_of("Hardmax")
def hardmax(f: Decomposer) -> Results:
    """1 at the first of the largest elements along an axis, else 0."""
    x = f.input(0)
    axis = f.attributes.get_int("axis", -1) % len(f.shape(x))
    place = f("ArgMax", x, axis=axis, keepdims=0)
    values = np.array([0, 1], np.float32)
    return [f("OneHot", place, [f.shape(x)[axis]], values, axis=axis)]


@decomposition_of("LpPool")
def lp_pool(f: Decomposer) -> Results:
    """A convolution of the p-th powers with ones, and its p-th root."""
    x, p = f.input(0), f.attributes.get_int("p", 2)
    channels = f.shape(x)[1]
    kernel = tuple(f.attributes.get_ints("kernel_shape", ()))
    ones = (1,) * len(kernel)
    window = {
        "strides": [*f.attributes.get_ints("strides", ones)],
        "dilations": [*f.attributes.get_ints("dilations", ones)],
    }
    pads = [*f.attributes.get_ints("pads", (0,) * (2 * len(kernel)))]
    weight = np.ones((channels, 1, *kernel), np.float32)
    size = f("Abs", x)
    power = size if p == 1 else f("Mul", x, x) if p == 2 else f("Pow", size, float(p))
    mode = f.attributes.get_string("auto_pad", "NOTSET")
    if mode == "NOTSET":
        if f.attributes.get_int("ceil_mode", 0):
            pads = _rounded_up(f.shape(x)[2:], kernel, window["strides"], window["dilations"], pads)
        sums = f("Conv", power, weight, group=channels, pads=pads, **window)
    else:
        sums = f("Conv", power, weight, group=channels, auto_pad=mode, **window)
    if p == 1:
        return [sums]
    return [f("Sqrt", sums) if p == 2 else f("Pow", sums, 1 / p)]


@decomposition_of("GlobalLpPool")
def global_lp_pool(f: Decomposer) -> Results:
    """The p-th root of the sum of the p-th powers of each channel."""
    x, p = f.input(0), f.attributes.get_int("p", 2)
    axes = [*range(2, len(f.shape(x)))]
    if p in (1, 2):
        return [f(f"ReduceL{p}", x, axes, keepdims=1)]
    sums = f("ReduceSum", f("Pow", f("Abs", x), float(p)), axes, keepdims=1)
    return [f("Pow", sums, 1 / p)]


def _rounded_up(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: list[int],
    dilations: list[int],
    pads: list[int],
) -> list[int]:
    """The padding that makes room for the last, partial window, unless that lies in the padding."""
    rank = len(size)
    more = list(pads)
    for axis in range(rank):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        room = size[axis] + pads[axis] + pads[axis + rank] - reach
        last = -(-room // strides[axis]) * strides[axis]
        if last < size[axis] + pads[axis]:
            more[axis + rank] += last - room
    return more


@decomposition_of("CumProd")
def cumprod(f: Decomposer) -> Results:
    """Products of ever longer runs, each of two of half the length."""
    x = f.input(0)
    shape = f.shape(x)
    axis = int(f.demand(1, "axis").item()) % len(shape)
    backward = bool(f.attributes.get_int("reverse", 0))
    if f.attributes.get_int("exclusive", 0):
        x = _shifted(f, x, axis, 1, backward=backward)
    step = 1
    while step < shape[axis]:
        x = f("Mul", x, _shifted(f, x, axis, step, backward=backward))
        step *= 2
    return [x]


def _shifted(f: Decomposer, x: ir.Value, axis: int, step: int, *, backward: bool) -> ir.Value:
    """``x`` moved along an axis by ``step``, with ones in the place that gets free."""
    shape = list(f.shape(x))
    size = shape[axis]
    shape[axis] = step
    assert x.dtype is not None
    ones = np.ones(shape, x.dtype.numpy())
    start, end = (step, size) if backward else (0, size - step)
    kept = f("Slice", x, [start], [end], [axis])
    return f("Concat", *((kept, ones) if backward else (ones, kept)), axis=axis)


@decomposition_of(
    "Mod", when=lambda call: bool(call.attributes.get_int("fmod", 0)) and not call.takes(*BYTES)
)
def fmod(f: Decomposer) -> Results:
    """The remainder whose sign follows the dividend, by that whose sign follows the divisor."""
    x, y = f.input(0), f.input(1)
    if x.dtype not in INTEGERS:
        rest = f("Mod", f("Abs", x), f("Abs", y), fmod=0)
        return [f("Mul", f("Sign", x), rest)]
    zero = np.zeros((), x.dtype.numpy())
    rest = f("Mod", x, y, fmod=0)
    crossed = f("Xor", f("Less", x, zero), f("Less", y, zero))
    over = f("And", crossed, f("Not", f("Equal", rest, zero)))
    return [f("Where", over, f("Sub", rest, y), rest)]


def _two_types(call: Call) -> bool:
    return call.input(0).dtype != call.input(1).dtype


@decomposition_of("Pow", when=_two_types)
def pow_of_two_types(f: Decomposer) -> Results:
    """POW of operands of one type: the base's, or float32 if the exponent is not an integer."""
    base, exponent = f.input(0), f.input(1)
    assert base.dtype is not None
    if exponent.dtype in INTEGERS or base.dtype == ir.DataType.FLOAT:
        return [f("Pow", base, f("Cast", exponent, to=int(base.dtype)))]
    power = f("Pow", f("Cast", base, to=int(ir.DataType.FLOAT)), exponent)
    # What is a hair below a whole number is that number.
    return [f("Cast", f("Mul", power, 1 + 2**-21), to=int(base.dtype))]


@decomposition_of("Compress")
def compress(f: Decomposer) -> Results:
    """The elements, or slices along an axis, where a constant condition holds."""
    x = f.input(0)
    places = np.flatnonzero(f.demand(1, "condition"))
    axis = f.attributes.get_int("axis", -(2**31))
    if axis == -(2**31):
        return [f("Gather", f("Reshape", x, [-1]), places)]
    return [f("Gather", x, places, axis=axis)]


@decomposition_of("Dropout", when=second_output_used)
def dropout_with_mask(f: Decomposer) -> Results:
    """Outside of training everything is kept."""
    if not f.missing(2) and f.demand(2, "training_mode").item():
        raise f.unsupported(
            "training_mode is set",
            "export the network in eval mode, and give functional.dropout training=self.training",
        )
    x = f.input(0)
    return [f("Identity", x), f("Identity", np.ones(f.shape(x), bool))]


@decomposition_of("LayerNormalization", when=second_output_used)
def layer_normalization_with_statistics(f: Decomposer) -> Results:
    """With the mean and the inverse of the standard deviation as results."""
    x = f.input(0)
    rank = len(f.shape(x))
    axes = list(range(f.attributes.get_int("axis", -1) % rank, rank))
    mean = f("ReduceMean", x, axes)
    centered = f("Sub", x, mean)
    variance = f("ReduceMean", f("Mul", centered, centered), axes)
    inverse = f(
        "Reciprocal", f("Sqrt", f("Add", variance, f.attributes.get_float("epsilon", 1e-5)))
    )
    y = f("Mul", f("Mul", centered, inverse), f.input(1))
    if not f.missing(2):
        y = f("Add", y, f.input(2))
    return [y, mean, inverse]


@decomposition_of("TensorScatter")
def tensor_scatter(f: Decomposer) -> Results:
    """ScatterElements at the positions from each write index on."""
    cache, update = f.input(0), f.input(1)
    shape = f.shape(update)
    axis = f.attributes.get_int("axis", -2) % len(shape)
    along = [1] * len(shape)
    along[axis] = shape[axis]
    steps = np.arange(shape[axis], dtype=np.int64).reshape(along)
    if not f.missing(2):
        starts = f("Reshape", f.input(2), [-1, *[1] * (len(shape) - 1)])
        places = f("Add", starts, steps)
    else:
        places = f("Identity", steps)
    if f.attributes.get_string("mode", "linear") == "circular":
        places = f("Mod", places, np.int64(f.shape(cache)[axis]))
    places = f("Expand", places, list(shape))
    return [f("ScatterElements", cache, places, update, axis=axis)]


@decomposition_of("MaxUnpool")
def max_unpool(f: Decomposer) -> Results:
    """ScatterElements into zeros, by indices that count the elements of the result."""
    x, indices = f.input(0), f.input(1)
    shape = f.shape(x)
    kernel = tuple(f.attributes.get_ints("kernel_shape", ()))
    rank = len(kernel)
    strides = f.attributes.get_ints("strides", (1,) * rank)
    pads = f.attributes.get_ints("pads", (0,) * (2 * rank))
    sizes = [
        (size - 1) * strides[axis] + kernel[axis] - pads[axis] - pads[axis + rank]
        for axis, size in enumerate(shape[2:])
    ]
    whole = [*shape[:2], *sizes]
    zeros = np.zeros(prod(whole), np.float32)
    flat = f("ScatterElements", zeros, f("Reshape", indices, [-1]), f("Reshape", x, [-1]), axis=0)
    result = f("Reshape", flat, whole)
    if not f.missing(2):
        wanted = f.demand(2, "output_shape")
        more = [int(asked) - have for asked, have in zip(wanted, whole, strict=True)]
        result = f("Pad", result, [0] * len(whole) + more)
    return [result]


@decomposition_of("MaxPool", when=second_output_used)
def max_pool_with_indices(f: Decomposer) -> Results:
    """Every element of the kernel as a map of its own, the largest of them, and where it was."""
    x = f.input(0)
    n, channels, *size = f.shape(x)
    kernel = tuple(f.attributes.get_ints("kernel_shape", ()))
    rank = len(kernel)
    ones = (1,) * rank
    strides, dilations = (
        f.attributes.get_ints("strides", ones),
        f.attributes.get_ints("dilations", ones),
    )
    pads = list(f.attributes.get_ints("pads", (0,) * (2 * rank)))
    if f.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        raise f.unsupported("auto_pad is set beside its indices", "state pads")
    if f.attributes.get_int("ceil_mode", 0):
        pads = _rounded_up(tuple(size), kernel, list(strides), list(dilations), pads)
    padded = f("Pad", x, [0, 0, *pads[:rank], 0, 0, *pads[rank:]], float(np.finfo("f4").min))
    room = f.shape(padded)[2:]
    counts = [
        (room[axis] - dilations[axis] * (kernel[axis] - 1) - 1) // strides[axis] + 1
        for axis in range(rank)
    ]
    maps = []
    for tap in np.ndindex(*kernel):
        first = [tap[axis] * dilations[axis] for axis in range(rank)]
        last = [
            start + (count - 1) * stride + 1
            for start, count, stride in zip(first, counts, strides, strict=True)
        ]
        axes = list(range(2, rank + 2))
        maps.append(f("Unsqueeze", f("Slice", padded, first, last, axes, list(strides)), [0]))
    stack = f("Concat", *maps, axis=0)
    best = f("ArgMax", stack, axis=0, keepdims=0)
    # Elements per step along each axis: the last axis counts ones, the first with storage_order 1.
    order = range(rank) if f.attributes.get_int("storage_order", 0) else range(rank)[::-1]
    steps, step = [0] * rank, 1
    for axis in order:
        steps[axis], step = step, step * size[axis]
    offsets = [
        sum(tap[axis] * dilations[axis] * steps[axis] for axis in range(rank))
        for tap in np.ndindex(*kernel)
    ]
    corner = np.indices((n, channels, *counts), dtype=np.int64)
    base = (corner[0] * channels + corner[1]) * prod(size)
    for axis in range(rank):
        base = base + (corner[axis + 2] * strides[axis] - pads[axis]) * steps[axis]
    indices = f("Add", f("Gather", np.array(offsets, np.int64), best), base)
    return [f("ReduceMax", stack, [0], keepdims=0), indices]


LARGEST_DETERMINANT = 4


@decomposition_of("Det")
def det(f: Decomposer) -> Results:
    """Laplace's expansion along the first row, of matrices up to 4 x 4."""
    x = f.input(0)
    size = f.shape(x)[-1]
    if size > LARGEST_DETERMINANT:
        raise f.unsupported(f"its matrices have {size} rows", f"use {LARGEST_DETERMINANT} at most")
    if size == 0:
        return [f("Expand", np.ones(1, np.float32), [*f.shape(x)[:-2]])]
    return [_determinant(f, x, size)]


def _determinant(f: Decomposer, x: ir.Value, size: int) -> ir.Value:
    row = f("Gather", x, 0, axis=-2)
    if size == 1:
        return f("Gather", row, 0, axis=-1)
    rest = f("Gather", x, list(range(1, size)), axis=-2)
    total: ir.Value | None = None
    for column in range(size):
        others = [index for index in range(size) if index != column]
        minor = _determinant(f, f("Gather", rest, others, axis=-1), size - 1)
        term = f("Mul", f("Gather", row, column, axis=-1), minor)
        total = term if total is None else f("Sub" if column % 2 else "Add", total, term)
    assert total is not None
    return total
