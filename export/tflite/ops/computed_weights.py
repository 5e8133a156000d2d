"""Convolutions and normalizations whose weights the network computes, as others have them."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.registry import decomposition_of


def _computed(call: Call, *indices: int) -> bool:
    """Whether one of the inputs depends on an input of the network."""
    pending = [call.inputs[index] for index in indices if not call.missing(index)]
    seen: set[ir.Value] = set()
    while pending:
        value = pending.pop()
        if value is None or value in seen or value.const_value is not None:
            continue
        seen.add(value)
        producer = value.producer()
        if producer is None:
            return True
        pending += producer.inputs
    return False


def _needs_dense(call: Call) -> bool:
    """Select convolutions whose lowering writes groups, or dilations, into a constant weight."""
    grouped = call.attributes.get_int("group", 1) > 1
    if call.op_type == "Conv":
        shape = call.input(0).shape
        return grouped and shape is not None and len(shape) == 5 and _computed(call, 1)
    dilated = max(call.attributes.get_ints("dilations", (1,))) > 1
    return (grouped or dilated) and _computed(call, 1)


@decomposition_of("Conv", "ConvTranspose", when=_needs_dense)
def dense_convolution(f: Decomposer) -> list[ir.Value]:
    """A convolution without groups, and a transposed one without dilations, by zeros."""
    transposed = f.op_type == "ConvTranspose"
    weight = f.input(1)
    attributes = {name: item for name, item in f.attributes.items() if name != "kernel_shape"}
    if transposed and "dilations" in attributes:
        weight = _spread(f, weight, [*attributes.pop("dilations").as_ints()])
    group = attributes.pop("group").as_int() if "group" in attributes else 1
    rows, columns, *kernel = f.shape(weight)
    if group > 1:
        # Its rows lie by group; each group has columns of its own.
        each = f("Reshape", weight, [group, rows // group, 1, columns, *kernel])
        own = np.eye(group, dtype=bool).reshape(group, 1, group, *[1] * (1 + len(kernel)))
        whole = f("Where", own, each, np.zeros((), np.float32))
        weight = f("Reshape", whole, [rows, columns * group, *kernel])
    rest = [] if f.missing(2) else [f.input(2)]
    stated = {name: item.value for name, item in attributes.items()}
    return [f(f.op_type, f.input(0), weight, *rest, **stated)]


def _spread(f: Decomposer, weight: ir.Value, steps: list[int]) -> ir.Value:
    """The weight with zeros between the elements of its kernel."""
    shape = list(f.shape(weight))
    for axis, step in enumerate(steps, start=2):
        inner = prod(shape[axis + 1 :])
        rows = f("Pad", f("Reshape", weight, [-1, inner]), [0, 0, 0, (step - 1) * inner])
        shape[axis] *= step
        whole = f("Reshape", rows, shape)
        shape[axis] -= step - 1
        weight = f("Slice", whole, [0], [shape[axis]], [axis])
    return weight


def _has_computed_statistics(call: Call) -> bool:
    return not call.attributes.get_int("training_mode", 0) and _computed(call, 1, 2, 3, 4)


@decomposition_of("BatchNormalization", when=_has_computed_statistics)
def batch_normalization(f: Decomposer) -> list[ir.Value]:
    """(x - mean) * (scale / sqrt(variance + epsilon)) + bias."""
    x = f.input(0)
    scale, bias, mean, variance = (_by_channel(f, x, f.input(index)) for index in (1, 2, 3, 4))
    spread = f("Sqrt", f("Add", variance, f.attributes.get_float("epsilon", 1e-5)))
    result = f("Mul", f("Sub", x, mean), f("Div", scale, spread))
    return [f("Add", result, bias)]


def _has_computed_scale(call: Call) -> bool:
    return _computed(call, 1, 2)


@decomposition_of("InstanceNormalization", "GroupNormalization", when=_has_computed_scale)
def normalization(f: Decomposer) -> list[ir.Value]:
    """The normalization without scale and bias, and these behind it."""
    x = f.input(0)
    channels = f.shape(x)[1]
    neutral = [f("Identity", np.full(channels, number, np.float32)) for number in (1, 0)]
    result = f.again([x, *neutral])
    return [
        f("Add", f("Mul", result, _by_channel(f, x, f.input(1))), _by_channel(f, x, f.input(2)))
    ]


def _by_channel(f: Decomposer, x: ir.Value, parameter: ir.Value) -> ir.Value:
    """A parameter of the channels, or of each group of them, as it broadcasts to ``x``."""
    channels, count = f.shape(x)[1], f.shape(parameter)[0]
    if count != channels:
        each = f("Reshape", parameter, [count, 1])
        parameter = f("Reshape", f("Expand", each, [count, channels // count]), [channels])
    return f("Reshape", parameter, [channels, *[1] * (len(f.shape(x)) - 2)])
