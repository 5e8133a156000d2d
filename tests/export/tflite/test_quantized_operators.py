"""Operators that the quantizer takes, from the float graph to the int8 file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.bundle import Layout
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import quantize
from edgeconv.export.tflite import lower
from support.lowering import Array, Net, as_model, in_layout, smooth
from support.runtimes import run_onnx, run_tflite

MAP = (1, 4, 6, 6)
Build = Callable[[Net, str], str]


def weight(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).normal(0, 0.4, shape).astype(np.float32)


def one(op_type: str, **attributes: object) -> Build:
    return lambda net, x: str(net.op(op_type, x, **attributes))


def two(op_type: str) -> Build:
    return lambda net, x: str(net.op(op_type, x, net.op("Relu", x)))


BUILDS: dict[str, Build] = {
    **{kind: one(kind) for kind in ("Abs", "Celu", "Mish", "Neg", "Selu", "Softplus")},
    "Elu": one("Elu", alpha=0.4),
    **{kind: two(kind) for kind in ("Max", "Min")},
    "PRelu": lambda net, x: str(net.op("PRelu", x, net.constant(np.array([0.2], np.float32)))),
    "ReduceMax": lambda net, x: str(net.op("ReduceMax", x, net.constant([3]))),
    "ReduceMin": lambda net, x: str(net.op("ReduceMin", x, net.constant([2]))),
    "Sum": lambda net, x: str(net.op("Sum", x, net.op("Relu", x), net.op("Tanh", x))),
    "Tile": lambda net, x: str(net.op("Tile", x, net.constant([1, 1, 2, 1]))),
    "TopK": lambda net, x: str(net.op("TopK", x, net.constant([2]), axis=3, outputs=2)[0]),
}


@pytest.mark.parametrize("name", BUILDS)
def test_it_is_quantized_on_both_sides(name: str) -> None:
    net = Net()
    first, second = net.constant(weight(4, 4, 1, 1)), net.constant(weight(3, 4, 1, 1))
    y = BUILDS[name](net, net.op("Conv", net.input("x", MAP), first))
    net.output(net.op("Conv", y, second))
    model = optimize(as_model(net.proto()))
    batches = [[smooth(MAP, seed)] for seed in range(4)]
    quantized = quantize(model, batches)
    assert quantized.float_fallback == ()
    lowered = lower(quantized.model)
    assert lowered.float_fallback == ()
    feeds = {"x": batches[0][0]}
    (expected,) = run_onnx(ir.to_proto(quantized.model), feeds).values()
    (got,) = run_tflite(lowered.data, {"x": in_layout(feeds["x"], Layout.NHWC)}).values()
    # A step of the operator's result moves that of the convolution behind it by a step at most,
    # and that has one of its own. The results are codes times the step.
    step = np.diff(np.unique(expected)).min()
    assert np.abs(got - in_layout(expected, Layout.NHWC)).max() <= 2 * step * 1.01
