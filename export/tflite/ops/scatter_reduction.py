"""Scatter with a product, a maximum or a minimum, which TFLite's SCATTER_ND does not have."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.registry import decomposition_of

REDUCTIONS = {
    "mul": ("ReduceProd", "Mul"),
    "max": ("ReduceMax", "Max"),
    "min": ("ReduceMin", "Min"),
}

LARGEST = 2**24
"""The most comparisons of an update with a place that are written."""


def _reduces(call: Call) -> bool:
    return call.attributes.get_string("reduction", "none") in REDUCTIONS


@decomposition_of("ScatterElements", when=_reduces)
def scatter_elements(f: Decomposer) -> list[ir.Value]:
    """Rows of updates for each place, reduced with the input."""
    x, indices, updates = f.input(0), f.input(1), f.input(2)
    shape, taken = f.shape(x), f.shape(indices)
    axis = f.attributes.get_int("axis", 0) % len(shape)
    strides = [prod(shape[other + 1 :]) for other in range(len(shape))]
    grid = np.indices(taken)
    rest = sum(grid[other] * strides[other] for other in range(len(shape)) if other != axis)
    counted = f("Mod", f("Cast", indices, to=int(ir.DataType.INT64)), shape[axis])
    offsets = np.asarray(rest, np.int64) + np.zeros(taken, np.int64)
    places = f("Add", f("Mul", counted, strides[axis]), offsets)
    return _reduced(f, f("Reshape", places, [-1]), f("Reshape", updates, [-1, 1]), prod(shape))


@decomposition_of("ScatterND", when=_reduces)
def scatter_nd(f: Decomposer) -> list[ir.Value]:
    """Rows of updates for each place, reduced with the input."""
    x, indices, updates = f.input(0), f.input(1), f.input(2)
    shape = f.shape(x)
    *taken, depth = f.shape(indices)
    sizes = np.array(shape[:depth], np.int64)
    strides = np.array([prod(shape[axis + 1 : depth]) for axis in range(depth)], np.int64)
    counted = f("Mod", f("Cast", indices, to=int(ir.DataType.INT64)), sizes)
    places = f("ReduceSum", f("Mul", counted, strides), [-1], keepdims=0)
    rows = f("Reshape", updates, [prod(taken), prod(shape[depth:])])
    return _reduced(f, f("Reshape", places, [-1]), rows, prod(shape[:depth]))


def _reduced(f: Decomposer, places: ir.Value, rows: ir.Value, count: int) -> list[ir.Value]:
    """The rows of updates for each of ``count`` places, others neutral, reduced with the input."""
    x = f.input(0)
    updates, width = f.shape(rows)
    if updates * count * width > LARGEST:
        raise f.unsupported(
            f"its {updates} updates of {count} places are too many to compare",
            "scatter with reduction none or add",
        )
    reduce, combine = REDUCTIONS[f.attributes.get_string("reduction", "")]
    assert x.dtype is not None
    dtype = x.dtype.numpy()
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    neutral = np.array(
        {"mul": 1, "max": limits.min, "min": limits.max}[f.attributes.get_string("reduction", "")],
        dtype,
    )
    numbers = np.arange(count, dtype=np.int64).reshape(1, count, 1)
    there = f("Equal", f("Reshape", places, [updates, 1, 1]), numbers)
    chosen = f("Where", there, f("Reshape", rows, [updates, 1, width]), neutral)
    total = f(reduce, chosen, [0], keepdims=0)
    return [f(combine, x, f("Reshape", total, list(f.shape(x))))]
