"""Operators over more dimensions than XNNPACK takes, on tensors that have fewer of them."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby
from math import prod

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.builder import MOST_DIMENSIONS
from edgeconv.export.tflite.layout import Shape
from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.ops.decomposed import Results
from edgeconv.export.tflite.registry import decomposition_of

_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
)


def _is_beyond(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and len(value.shape) > MOST_DIMENSIONS


def _has_many(call: Call) -> bool:
    return _is_beyond(call.inputs[0])


def _any_has_many(call: Call) -> bool:
    return any(map(_is_beyond, call.inputs))


@decomposition_of(*_REDUCTIONS, when=_has_many)
def reduce_fewer(f: Decomposer) -> Results:
    """The same operator, with neighbors that are all reduced or all kept as one dimension."""
    x = f.input(0)
    rank = len(f.shape(x))
    given = len(f.inputs) > 1 and f.inputs[1] is not None
    stated = f.demand(1, "axes") if given else f.attributes.get_ints("axes", ())
    axes = {int(axis) % rank for axis in stated}
    if not axes:
        if f.attributes.get_int("noop_with_empty_axes", 0):
            return [x]
        axes = set(range(rank))
    left = [1 if axis in axes else size for axis, size in enumerate(f.shape(x))]
    if not f.attributes.get_int("keepdims", 1):
        left = [size for axis, size in enumerate(f.shape(x)) if axis not in axes]
    shape, reduced = _merged(f.shape(x), axes)
    if len(shape) > MOST_DIMENSIONS:
        kept = [axis for axis in range(rank) if axis not in axes]
        x = f("Transpose", x, perm=[*kept, *sorted(axes)])
        shape, reduced = _merged(f.shape(x), range(len(kept), rank))
    small = f(f.op_type, f("Reshape", x, shape), reduced, keepdims=0)
    return [f("Reshape", small, left)]


@decomposition_of("LogSoftmax", "Softmax", when=_has_many)
def softmax_of_three(f: Decomposer) -> Results:
    """The same operator over the second of three dimensions."""
    x = f.input(0)
    shape = f.shape(x)
    axis = f.attributes.get_int("axis", -1) % len(shape)
    sides = [prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])]
    return [f("Reshape", f(f.op_type, f("Reshape", x, sides), axis=1), [*shape])]


@decomposition_of("LayerNormalization", when=_has_many)
def normalize_rows(f: Decomposer) -> Results:
    """The same operator on the rows of a matrix."""
    x, *weights = f.inputs
    assert x is not None
    shape = f.shape(x)
    axis = f.attributes.get_int("axis", -1) % len(shape)
    rows = [prod(shape[:axis]), prod(shape[axis:])]
    flat = [f("Reshape", each, rows[1:]) for each in weights if each is not None]
    epsilon = f.attributes.get_float("epsilon", 1e-5)
    result = f("LayerNormalization", f("Reshape", x, rows), *flat, axis=1, epsilon=epsilon)
    return [f("Reshape", result, [*shape])]


@decomposition_of("Concat", when=_has_many)
def join_rows(f: Decomposer) -> Results:
    """The same operator along the rows of matrices."""
    values = [value for value in f.inputs if value is not None]
    axis = f.attributes.get_int("axis", 0) % len(f.shape(values[0]))
    before = prod(f.shape(values[0])[:axis])
    rows = [f("Reshape", each, [before, prod(f.shape(each)[axis:])]) for each in values]
    whole = [*f.shape(values[0])]
    whole[axis] = sum(f.shape(each)[axis] for each in values)
    return [f("Reshape", f("Concat", *rows, axis=1), whole)]


@decomposition_of("MatMul", when=_any_has_many)
def multiply_stack(f: Decomposer) -> Results:
    """The same operator on stacks of matrices in one dimension."""
    a, b = f.input(0), f.input(1)
    left, right = f.shape(a), f.shape(b)
    if min(len(left), len(right)) < 2:  # a vector has no matrices beside it
        return [f("MatMul", a, b)]
    shape = (*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1])
    if len(f.shape(b)) == 2:
        return [f("Reshape", f("MatMul", f("Reshape", a, [-1, f.shape(a)[-1]]), b), [*shape])]
    stacks = [_stack(f, each, shape[:-2]) if len(f.shape(each)) > 2 else each for each in (a, b)]
    return [f("Reshape", f("MatMul", *stacks), [*shape])]


def _stack(f: Decomposer, value: ir.Value, before: Shape) -> ir.Value:
    """The matrices of a value, for each place of ``before``, in a single dimension."""
    matrix = f.shape(value)[-2:]
    if f.shape(value)[:-2] != before:
        value = f("Expand", value, [*before, *matrix])
    return f("Reshape", value, [prod(before), *matrix])


def _merged(shape: Shape, axes: Collection[int]) -> tuple[list[int], list[int]]:
    """The sizes with neighbors of one kind multiplied, and which of these are ``axes``."""
    sizes, found = list[int](), list[int]()
    for is_axis, group in groupby(range(len(shape)), key=lambda axis: axis in axes):
        if is_axis:
            found.append(len(sizes))
        sizes.append(prod(shape[axis] for axis in group))
    return sizes, found
