"""Count the forms in which one operator can be written, on emulated boards and their runtimes.

    .venv/bin/python -m benchmarks.operator_forms
    .venv/bin/python -m benchmarks.operator_forms --only mean   # the result is only printed
"""

from __future__ import annotations

import argparse
import base64
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measuring import markdown_table, publish
from edgeconv.device.emulated import EmulatedDevice, InstructionCounts
from edgeconv.device.messages import Instructions, Outputs, RunRequest, Runtime
from edgeconv.errors import MeasurementError
from edgeconv.export.tflite.graph import (
    Activation,
    ChannelQuantization,
    Graph,
    Operator,
    Padding,
    Quantization,
    Tensor,
)
from edgeconv.export.tflite.writer import write
from edgeconv.units import significant

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
INT8, INT32, FLOAT = np.dtype("int8"), np.dtype("int32"), np.dtype("float32")
IN = Quantization(8 / 255, 3)
OUT = Quantization(6.5 / 255, -97)
SIGMOID = Quantization(1 / 256, -128)


class File:
    """A file under construction; its first input is ``x``."""

    def __init__(self, shape: Shape, q: Quantization | None = IN) -> None:
        self.graph = Graph()
        self.x = self.input(shape, q)

    def input(self, shape: Shape, q: Quantization | None = IN) -> Tensor:
        name = f"x{len(self.graph.inputs)}"
        tensor = Tensor(name, shape, FLOAT if q is None else INT8, None, q)
        self.graph.inputs.append(tensor)
        return tensor

    def constant(self, array: Any, dtype: Any = INT32, q: Any = None) -> Tensor:
        array = np.asarray(array, dtype)
        return Tensor(f"c{id(array)}", array.shape, array.dtype, array, q)

    def op(self, name: str, *inputs: Tensor, shape: Shape | None = None,
           q: Quantization | None = OUT, dtype: Any = None, count: int = 1, **options: Any) -> Any:
        dtype = np.dtype(dtype) if dtype else (FLOAT if q is None else INT8)
        shape = inputs[0].shape if shape is None else shape
        made = [Tensor(f"t{len(self.graph.operators)}_{i}", shape, dtype, None, q)
                for i in range(count)]
        self.graph.operators.append(Operator(name, inputs, made, options))
        return made[0] if count == 1 else made

    def dequantize(self, x: Tensor) -> Tensor:
        return self.op("DEQUANTIZE", x, q=None)

    def data(self, *outputs: Tensor) -> bytes:
        self.graph.outputs.extend(outputs)
        return bytes(write(self.graph))


Form = Callable[[Shape], bytes]


@dataclass(frozen=True)
class Subject:
    title: str
    shapes: tuple[Shape, ...]
    forms: dict[str, Form]


def steps(*names: str, q: Quantization = OUT, **options: Any) -> Form:
    """int8 to float, operators, and back."""
    def form(shape: Shape) -> bytes:
        f = File(shape)
        y = f.dequantize(f.x)
        for name in names:
            y = f.op(name, y, q=None, **options)
        return f.data(f.op("QUANTIZE", y, q=q))
    return form


def kernel(name: str, q: Quantization = OUT, **options: Any) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        return f.data(f.op(name, f.x, q=q, **options))
    return form


def gathered(shape: Shape) -> bytes:
    f = File(shape)
    y = f.op("QUANTIZE", f.x, q=Quantization(IN.scale, IN.zero_point + 128), dtype="uint8")
    i = f.op("CAST", y, dtype="int32", q=None, inDataType=3, outDataType=2)
    t = f.constant(np.arange(256) - 128, INT8, OUT)
    return f.data(f.op("GATHER", t, i, shape=shape, axis=0))


def scalar(name: str, number: int, q: Quantization = IN, fused: Activation = Activation.NONE) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        return f.data(f.op(name, f.x, f.constant(number, INT8, IN), shape=shape, q=q))
    return form


def clipped(name: str) -> Form:
    """RELU6-like limits by a window of one element."""
    def form(shape: Shape) -> bytes:
        f = File(shape)
        options: dict[str, Any] = {"padding": Padding.VALID, "strideH": 1, "strideW": 1,
                   "fusedActivationFunction": Activation.RELU6}
        options |= {"filterHeight": 1, "filterWidth": 1}
        return f.data(f.op(name, f.x, q=IN, **options))
    return form


def both_limits(shape: Shape) -> bytes:
    f = File(shape)
    y = f.op("MAXIMUM", f.x, f.constant(3, INT8, IN), shape=shape, q=IN)
    return f.data(f.op("MINIMUM", y, f.constant(100, INT8, IN), shape=shape, q=IN))


def mean(shape: Shape) -> bytes:
    f = File(shape)
    return f.data(f.op("MEAN", f.x, f.constant([1, 2]), shape=(1, 1, 1, shape[3]), keepDims=True, q=IN))


def mean_of_rows(shape: Shape) -> bytes:
    f = File((1, shape[1] * shape[2], 1, shape[3]))
    return f.data(f.op("MEAN", f.x, f.constant([1, 2]), shape=(1, 1, 1, shape[3]), keepDims=True, q=IN))


def mean_3d(shape: Shape) -> bytes:
    f = File((1, shape[1] * shape[2], shape[3]))
    return f.data(f.op("MEAN", f.x, f.constant([1]), shape=(1, 1, shape[3]), keepDims=True, q=IN))


def mean_float(shape: Shape) -> bytes:
    f = File(shape)
    y = f.op("MEAN", f.dequantize(f.x), f.constant([1, 2]), shape=(1, 1, 1, shape[3]), keepDims=True, q=None)
    return f.data(f.op("QUANTIZE", y, q=IN))


def summed(name: str, integer: bool) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        q = Quantization(8.0, 0)
        small = (1, 1, 1, shape[3])
        if integer:
            return f.data(f.op(name, f.x, f.constant([1, 2]), shape=small, keepDims=True, q=q))
        y = f.op(name, f.dequantize(f.x), f.constant([1, 2]), shape=small, keepDims=True, q=None)
        return f.data(f.op("QUANTIZE", y, q=q))
    return form


def pooled(name: str, kernel: int = 0, stride: int = 1) -> Form:
    """An average pool, as a pool or as a depthwise convolution; kernel 0 is the whole map."""
    def form(shape: Shape) -> bytes:
        f = File(shape)
        size = (kernel, kernel) if kernel else shape[1:3]
        out = (1, (shape[1] - size[0]) // stride + 1, (shape[2] - size[1]) // stride + 1, shape[3])
        options: dict[str, Any] = {"padding": Padding.VALID, "strideH": stride, "strideW": stride}
        if name == "AVERAGE_POOL_2D":
            options |= {"filterHeight": size[0], "filterWidth": size[1]}
            return f.data(f.op(name, f.x, shape=out, q=IN, **options))
        c = shape[3]
        scale = np.full(c, 1 / prod(size), np.float32)
        w = f.constant(np.ones((1, *size, c)), INT8, ChannelQuantization(scale, 3))
        b = f.constant(np.zeros(c), INT32, ChannelQuantization(scale * np.float32(IN.scale), 0))
        return f.data(f.op(name, f.x, w, b, shape=out, q=IN, depthMultiplier=1, **options))
    return form


def joined(count: int, most: int) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        parts = [f.x, *(f.input(shape) for _ in range(count - 1))]
        while len(parts) > 1:
            width = min(most, len(parts) - most + 1) if len(parts) > most else len(parts)
            c = sum(p.shape[3] for p in parts[:width])
            j = f.op("CONCATENATION", *parts[:width], shape=(*shape[:3], c), q=IN, axis=3)
            parts = [j, *parts[width:]]
        return f.data(parts[0])
    return form


def parts(sizes: Sequence[float], name: str) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        c = shape[3]
        counts = [int(c * s) for s in sizes]
        if name == "SPLIT":
            made = f.op(name, f.constant(3), f.x, shape=(*shape[:3], counts[0]), q=IN,
                        count=len(counts), numSplits=len(counts))
            return f.data(*made)
        if name == "SPLIT_V":
            made = f.op(name, f.x, f.constant(counts), f.constant(3), shape=(*shape[:3], 1), q=IN,
                        count=len(counts), numSplits=len(counts))
            for m, n in zip(made, counts, strict=True):
                m.shape = (*shape[:3], n)
            return f.data(*made)
        start, made = 0, []
        for n in counts:
            made.append(f.op("SLICE", f.x, f.constant([0, 0, 0, start]),
                             f.constant([*shape[:3], n]), shape=(*shape[:3], n), q=IN))
            start += n
        return f.data(*made)
    return form


def weights(f: File, shape: Shape, axis: int, per_tensor: bool = False) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(1)
    codes = rng.integers(-127, 128, shape)
    scales = np.full(shape[axis], 0.004, np.float32)
    q: Any = ChannelQuantization(scales, axis)
    bq: Any = ChannelQuantization(scales * np.float32(IN.scale), 0)
    if per_tensor:
        q, bq = Quantization(0.004, 0), Quantization(0.004 * IN.scale, 0)
    return f.constant(codes, INT8, q), f.constant(rng.integers(-500, 500, shape[axis]), INT32, bq)


def dense(name: str, units: int) -> Form:
    def form(shape: Shape) -> bytes:
        rows, depth = shape
        if name == "FULLY_CONNECTED":
            f = File(shape)
            w, b = weights(f, (units, depth), 0, per_tensor=True)
            return f.data(f.op(name, f.x, w, b, shape=(rows, units)))
        f = File((rows, 1, 1, depth) if name == "rows" else (1, 1, rows, depth))
        w, b = weights(f, (units, 1, 1, depth), 0)
        out = (*f.x.shape[:3], units)
        return f.data(f.op("CONV_2D", f.x, w, b, shape=out, padding=Padding.VALID, strideH=1,
                           strideW=1))
    return form


def strided(name: str, kernel: int, units: int, how: str) -> Form:
    """A stride of two with PyTorch's symmetric padding: PAD in front, or a larger kernel."""
    def form(shape: Shape) -> bytes:
        f = File(shape)
        c = shape[3]
        pad = kernel // 2
        out = (1, shape[1] // 2, shape[2] // 2, units or c)
        k = kernel if how == "pad" else kernel + 1
        deep = name == "DEPTHWISE_CONV_2D"
        w, b = weights(f, (1, k, k, c) if deep else (units, k, k, c), 3 if deep else 0)
        x = f.x
        if how == "pad":
            padded = (1, shape[1] + pad * 2 - 1, shape[2] + pad * 2 - 1, c)
            amounts = f.constant([[0, 0], [pad, pad - 1], [pad, pad - 1], [0, 0]])
            x = f.op("PAD", x, amounts, shape=padded, q=IN)
        options: dict[str, Any] = {"strideH": 2, "strideW": 2}
        options["padding"] = Padding.VALID if how == "pad" else Padding.SAME
        if deep:
            options["depthMultiplier"] = 1
        return f.data(f.op(name, x, w, b, shape=out, **options))
    return form


def large_depthwise(kernel: int, integer: bool) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        options: dict[str, Any] = {"padding": Padding.SAME, "strideH": 1, "strideW": 1,
                                   "depthMultiplier": 1}
        if integer:
            w, b = weights(f, (1, kernel, kernel, shape[3]), 3)
            return f.data(f.op("DEPTHWISE_CONV_2D", f.x, w, b, **options))
        w = f.constant(np.random.default_rng(0).normal(size=(1, kernel, kernel, shape[3])), FLOAT)
        b = f.constant(np.zeros(shape[3]), FLOAT)
        y = f.op("DEPTHWISE_CONV_2D", f.dequantize(f.x), w, b, q=None, **options)
        return f.data(f.op("QUANTIZE", y))
    return form


def one_channel(how: str) -> Form:
    """A convolution of one channel, as CONV_2D or as DEPTHWISE_CONV_2D with a multiplier."""
    def form(shape: Shape) -> bytes:
        f = File(shape)
        units = 16
        options: dict[str, Any] = {"padding": Padding.SAME, "strideH": 1, "strideW": 1}
        out = (*shape[:3], units)
        if how == "conv":
            w, b = weights(f, (units, 3, 3, 1), 0)
            return f.data(f.op("CONV_2D", f.x, w, b, shape=out, **options))
        w, b = weights(f, (1, 3, 3, units), 3)
        return f.data(f.op("DEPTHWISE_CONV_2D", f.x, w, b, shape=out, depthMultiplier=units,
                           **options))
    return form


def product(integer: bool) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        other = f.input(shape)
        out = (*shape[:-1], shape[-2])
        if integer:
            return f.data(f.op("BATCH_MATMUL", f.x, other, shape=out, adjY=True))
        y = f.op("BATCH_MATMUL", f.dequantize(f.x), f.dequantize(other), shape=out, q=None, adjY=True)
        return f.data(f.op("QUANTIZE", y))
    return form


def gate(how: str) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        g = f.input((1, 1, 1, shape[3]), SIGMOID)
        if how == "x first":
            return f.data(f.op("MUL", f.x, g, shape=shape))
        if how == "gate first":
            return f.data(f.op("MUL", g, f.x, shape=shape))
        if how == "3d":
            f = File((1, shape[1] * shape[2], shape[3]))
            g = f.input((1, 1, shape[3]), SIGMOID)
            return f.data(f.op("MUL", f.x, g, shape=f.x.shape))
        if how == "2d":
            f = File((shape[1] * shape[2], shape[3]))
            g = f.input((shape[3],), SIGMOID)
            return f.data(f.op("MUL", f.x, g, shape=f.x.shape))
        y = f.op("MUL", f.dequantize(f.x), f.dequantize(g), shape=shape, q=None)
        return f.data(f.op("QUANTIZE", y))
    return form


def pair(name: str, integer: bool) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        other = f.input(shape, Quantization(0.02, 5))
        if integer:
            return f.data(f.op(name, f.x, other))
        return f.data(f.op("QUANTIZE", f.op(name, f.dequantize(f.x), f.dequantize(other), q=None)))
    return form


def affine(how: str) -> Form:
    """A scale and a bias per channel."""
    def form(shape: Shape) -> bytes:
        f = File(shape)
        c = shape[3]
        if how == "conv":
            w, b = weights(f, (1, 1, 1, c), 3)
            return f.data(f.op("DEPTHWISE_CONV_2D", f.x, w, b, padding=Padding.SAME, strideH=1,
                               strideW=1, depthMultiplier=1))
        y = f.op("MUL", f.dequantize(f.x), f.constant(np.ones(c), FLOAT), q=None, shape=shape)
        y = f.op("ADD", y, f.constant(np.ones(c), FLOAT), q=None, shape=shape)
        return f.data(f.op("QUANTIZE", y))
    return form


def resized(name: str, integer: bool) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        out = (1, shape[1] * 2, shape[2] * 2, shape[3])
        size = f.constant(out[1:3])
        half = {"halfPixelCenters": True} if name == "RESIZE_BILINEAR" else {}
        if integer:
            return f.data(f.op(name, f.x, size, shape=out, q=IN, **half))
        y = f.op(name, f.dequantize(f.x), size, shape=out, q=None, **half)
        return f.data(f.op("QUANTIZE", y, q=IN))
    return form


def shuffled(how: str) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        c = shape[3]
        if how == "gather":
            order = np.arange(c).reshape(2, c // 2).T.reshape(-1)
            return f.data(f.op("GATHER", f.x, f.constant(order), q=IN, axis=3))
        five = (*shape[:3], 2, c // 2)
        moved = (*shape[:3], c // 2, 2)
        if how == "3d":
            five, moved = (prod(shape[:3]), 2, c // 2), (prod(shape[:3]), c // 2, 2)
        perm = [0, 1, 2, 4, 3] if how == "5d" else [0, 2, 1]
        y = f.op("RESHAPE", f.x, f.constant(five), shape=five, q=IN, newShape=five)
        y = f.op("TRANSPOSE", y, f.constant(perm), shape=moved, q=IN)
        return f.data(f.op("RESHAPE", y, f.constant(shape), shape=shape, q=IN, newShape=shape))
    return form


def softmax(integer: bool) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        if integer:
            return f.data(f.op("SOFTMAX", f.x, q=SIGMOID, beta=1.0))
        return f.data(f.op("QUANTIZE", f.op("SOFTMAX", f.dequantize(f.x), q=None, beta=1.0), q=SIGMOID))
    return form


def compared(integer: bool) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        other = f.input(shape)
        a, b = (f.x, other) if integer else (f.dequantize(f.x), f.dequantize(other))
        return f.data(f.op("GREATER", a, b, q=None, dtype="bool"))
    return form


def floats(name: str, **options: Any) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape, None)
        return f.data(f.op(name, f.x, q=None, **options))
    return form


def float_hard_swish(shape: Shape) -> bytes:
    f = File(shape, None)
    n = lambda v: f.constant(v, FLOAT)
    y = f.op("ADD", f.x, n(3.0), q=None, fusedActivationFunction=Activation.RELU6)
    y = f.op("MUL", y, n(1 / 6), q=None)
    return f.data(f.op("MUL", f.x, y, q=None))


def int_hard_sigmoid(shape: Shape) -> bytes:
    f = File(shape)
    n = lambda v: f.constant(v, FLOAT)
    y = f.op("MUL", f.dequantize(f.x), n(1 / 6), q=None)
    y = f.op("ADD", y, n(0.5), q=None)
    y = f.op("MINIMUM", f.op("MAXIMUM", y, n(0.0), q=None), n(1.0), q=None)
    return f.data(f.op("QUANTIZE", y, q=Quantization(1 / 254, -127)))


def relu6_hard_sigmoid(shape: Shape) -> bytes:
    f = File(shape)
    n = lambda v: f.constant(v, FLOAT)
    y = f.op("MUL", f.dequantize(f.x), n(1 / 6), q=None)
    y = f.op("ADD", y, n(0.5), q=None)
    return f.data(f.op("QUANTIZE", y, q=Quantization(1 / 254, -127)))


def silu(how: str) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        if how == "int8":
            return f.data(f.op("MUL", f.x, f.op("LOGISTIC", f.x, q=SIGMOID)))
        y = f.dequantize(f.x)
        return f.data(f.op("QUANTIZE", f.op("MUL", y, f.op("LOGISTIC", y, q=None), q=None)))
    return form


M, S = (1, 14, 14, 96), (1, 7, 7, 160)
SUBJECTS = (
    Subject("Scale change", (M, S), {"table": steps(), "QUANTIZE": kernel("QUANTIZE")}),
    Subject("HardSwish", (M, S), {"table": steps("HARD_SWISH"), "kernel": kernel("HARD_SWISH"), "gather": gathered}),
    Subject("HardSigmoid", ((1, 1, 1, 96), (1, 1, 1, 576)), {"table": int_hard_sigmoid, "saturating": relu6_hard_sigmoid}),
    Subject("SiLU", (M,), {"int8": silu("int8"), "float": silu("float")}),
    Subject("Sigmoid", (M, (1, 1, 1, 96)), {"kernel": kernel("LOGISTIC", SIGMOID), "table": steps("LOGISTIC", q=SIGMOID)}),
    Subject("Tanh", (M,), {"kernel": kernel("TANH", Quantization(1/128, 0)), "table": steps("TANH", q=Quantization(1/128, 0))}),
    Subject("Elu", (M,), {"kernel": kernel("ELU"), "table": steps("ELU")}),
    Subject("LeakyRelu", (M,), {"table": steps("LEAKY_RELU", alpha=0.1), "kernel": kernel("LEAKY_RELU", alpha=0.1)}),
    Subject("Abs", (M,), {"table": steps("ABS"), "kernel": kernel("ABS")}),
    Subject("Clip at one end", (M,), {"MAXIMUM": scalar("MAXIMUM", 3), "RELU": kernel("RELU", IN)}),
    Subject("Clip at two ends", (M,), {"MAXIMUM, MINIMUM": both_limits, "RELU6": kernel("RELU6", IN), "pool": clipped("MAX_POOL_2D")}),
    Subject("Global average", ((1, 7, 7, 160), (1, 28, 28, 40)), {"MEAN": mean, "rows": mean_of_rows, "3d": mean_3d, "float": mean_float, "AVERAGE_POOL_2D": pooled("AVERAGE_POOL_2D"), "DEPTHWISE": pooled("DEPTHWISE_CONV_2D")}),
    Subject("ReduceSum", (S,), {"SUM": summed("SUM", True), "float": summed("SUM", False)}),
    Subject("Average 2x2/2", (M,), {"DEPTHWISE": pooled("DEPTHWISE_CONV_2D", 2, 2), "AVERAGE_POOL_2D": pooled("AVERAGE_POOL_2D", 2, 2)}),
    Subject("Average 3x3/1", (M,), {"DEPTHWISE": pooled("DEPTHWISE_CONV_2D", 3, 1), "AVERAGE_POOL_2D": pooled("AVERAGE_POOL_2D", 3, 1)}),
    Subject("Concat of 8", ((1, 14, 14, 12),), {"five": joined(8, 5), "all": joined(8, 99)}),
    Subject("Concat of 16", ((1, 7, 7, 32),), {"five": joined(16, 5), "all": joined(16, 99)}),
    Subject("Split in 2", (M,), {"SPLIT": parts((0.5, 0.5), "SPLIT"), "SLICE": parts((0.5, 0.5), "SLICE")}),
    Subject("Split unevenly", (M,), {"SLICE": parts((0.25, 0.75), "SLICE"), "SPLIT_V": parts((0.25, 0.75), "SPLIT_V")}),
    Subject("Dense", ((1, 576), (16, 192)), {"CONV_2D rows": dense("rows", 128), "CONV_2D row": dense("row", 128), "FULLY_CONNECTED per tensor": dense("FULLY_CONNECTED", 128)}),
    Subject("Depthwise 3x3/2", ((1, 28, 28, 48),), {"PAD": strided("DEPTHWISE_CONV_2D", 3, 0, "pad"), "larger": strided("DEPTHWISE_CONV_2D", 3, 0, "same")}),
    Subject("Conv 3x3/2", ((1, 64, 64, 3), (1, 16, 16, 16)), {"PAD": strided("CONV_2D", 3, 16, "pad"), "larger": strided("CONV_2D", 3, 16, "same")}),
    Subject("Depthwise 7x7", ((1, 14, 14, 96),), {"float": large_depthwise(7, False), "int8": large_depthwise(7, True)}),
    Subject("Conv of one channel", ((1, 28, 28, 1),), {"CONV_2D": one_channel("conv"), "DEPTHWISE": one_channel("deep")}),
    Subject("Product of two", ((1, 3, 49, 32),), {"float": product(False), "int8": product(True)}),
    Subject("Gate", (M, S), {"x first": gate("x first"), "gate first": gate("gate first"), "3d": gate("3d"), "2d": gate("2d"), "float": gate("float")}),
    Subject("Add", (M,), {"int8": pair("ADD", True), "float": pair("ADD", False)}),
    Subject("Mul", (M,), {"int8": pair("MUL", True), "float": pair("MUL", False)}),
    Subject("Affine", (M,), {"DEPTHWISE": affine("conv"), "float": affine("float")}),
    Subject("Resize bilinear", ((1, 14, 14, 24),), {"int8": resized("RESIZE_BILINEAR", True), "float": resized("RESIZE_BILINEAR", False)}),
    Subject("Resize nearest", ((1, 14, 14, 24),), {"int8": resized("RESIZE_NEAREST_NEIGHBOR", True), "float": resized("RESIZE_NEAREST_NEIGHBOR", False)}),
    Subject("Shuffle", ((1, 14, 14, 116),), {"5d": shuffled("5d"), "3d": shuffled("3d"), "gather": shuffled("gather")}),
    Subject("Softmax", ((49, 49), (1, 1000)), {"int8": softmax(True), "float": softmax(False)}),
    Subject("Greater", (M,), {"float": compared(False), "int8": compared(True)}),
    Subject("HardSwish in float", (M,), {"kernel": floats("HARD_SWISH"), "written out": float_hard_swish}),
)


@dataclass(frozen=True)
class Place:
    board: str
    runtime: Runtime


PLACES = (
    Place("pi3-32", Runtime.TFLITE_RUNTIME),
    Place("pi4", Runtime.TFLITE_RUNTIME),
    Place("pi4", Runtime.LITERT),
)


@cache
def device(board: str) -> EmulatedDevice:
    return EmulatedDevice.parse(f"emulated:{board}")


def counted(place: Place, file: Path) -> int | None:
    board = device(place.board)
    request = RunRequest(model=board.place(file), runtime=place.runtime, min_runs=1, warmup_seconds=0)
    try:
        with closing(board.run(request)) as events:
            for event in events:
                if isinstance(event, Instructions):
                    return InstructionCounts.of(event).total
    except MeasurementError as error:
        sys.stderr.write(f"{error}\n")
    return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    for subject in SUBJECTS:
        if given.only and not any(o.lower() in subject.title.lower() for o in given.only):
            continue
        for shape in subject.shapes[:1]:
            for title, form in subject.forms.items():
                with tempfile.TemporaryDirectory() as folder:
                    file = Path(folder) / "m.tflite"
                    file.write_bytes(form(shape))
                    row = [counted(place, file) for place in PLACES[:2]]
                cells = ["-" if n is None else significant(n / 1e6) for n in row]
                print(subject.title, "x".join(map(str, shape)), title, *cells, sep=" | ", flush=True)


if __name__ == "__main__":
    main()
