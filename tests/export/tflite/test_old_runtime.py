"""One net for each way of writing an operator, on tflite-runtime 2.14."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgeconv.bundle import Layout
from edgeconv.export.inspect.runtimes import refused_by, tflite_release
from edgeconv.export.tflite import lower
from support.lowering import Array, Net, as_model, in_layout, smooth
from support.runtimes import run_onnx

pytestmark = pytest.mark.slow

MAP = (1, 4, 6, 6)
VOLUME = (1, 4, 5, 6, 6)
RELEASE = tflite_release("tflite-runtime==2.14")
OldRuntime = Callable[[bytes, dict[str, Array]], dict[str, Array]]
Build = Callable[[Net], str]


def on_map(op_type: str, *constants: object, **attributes: object) -> Build:
    def build(net: Net) -> str:
        operands = [net.constant(np.asarray(item)) for item in constants]
        return str(net.op(op_type, net.input("x", MAP), *operands, **attributes))

    return build


def weight(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).normal(0, 0.5, shape).astype(np.float32)


def pixel_shuffle(net: Net) -> str:
    y = net.op("Conv", net.input("x", MAP), net.constant(weight(8, 4, 1, 1)))
    return str(net.op("DepthToSpace", y, blocksize=2, mode="CRD"))


def volume(net: Net) -> str:
    y = net.op("Conv", net.input("x", VOLUME), net.constant(weight(8, 2, 3, 3, 3)), group=2)
    return str(net.op("MaxPool", y, kernel_shape=(2, 2, 2), pads=(1, 0, 0, 0, 0, 1)))


def cubic(net: Net) -> str:
    scales = net.constant(np.array([1, 1, 1.5, 2], np.float32))
    return str(net.op("Resize", net.input("x", MAP), "", scales, mode="cubic"))


def gru(net: Net) -> str:
    operands = weight(1, 9, 6), weight(1, 9, 3), weight(1, 18)
    x = net.input("x", (4, 2, 6))
    return str(net.op("GRU", x, *map(net.constant, operands), hidden_size=3, outputs=2)[0])


def attention(net: Net) -> str:
    x = net.input("x", (2, 5, 3, 4))
    scores = net.op("Softmax", net.op("Einsum", x, x, equation="bihc,bjhc->bhij"))
    return str(net.op("Einsum", scores, x, equation="bhij,bjhc->bihc"))


def hot(net: Net) -> str:
    indices = net.op("ArgMax", net.input("x", MAP), axis=1, keepdims=0)
    values = net.constant(np.array([0, 1], np.float32))
    return str(net.op("OneHot", indices, net.constant(np.array(4)), values, axis=1))


def put(net: Net) -> str:
    x = net.input("x", MAP)
    indices = net.op("ArgMax", x, axis=1)
    updates = net.constant(np.ones((1, 1, 6, 6), np.float32))
    return str(net.op("ScatterElements", x, indices, updates, axis=1))


def grid_sample(net: Net) -> str:
    grid = net.constant(np.random.default_rng(0).uniform(-1, 1, (1, 3, 2, 2)).astype("f4"))
    return str(net.op("GridSample", net.input("x", MAP), grid))


def computed_indices(net: Net) -> str:
    x = net.input("x", MAP)
    last = net.op("Sub", net.op("ArgMax", x, axis=1, keepdims=0), net.constant([4]))
    return str(net.op("Gather", net.constant(weight(4, 3)), last))


def transposed_volume(net: Net) -> str:
    kernel = net.constant(weight(4, 3, 2, 3, 2))
    return str(net.op("ConvTranspose", net.input("x", VOLUME), kernel, strides=(2, 1, 1)))


def stft(net: Net) -> str:
    window = net.constant(np.hanning(16).astype(np.float32))
    return str(net.op("STFT", net.input("x", (1, 40, 1)), net.constant(8), window))


def branches(net: Net) -> str:
    x = net.input("x", MAP)
    above = net.op("Greater", net.op("ReduceSum", x, keepdims=0), net.constant(np.float32(0)))
    sides = {}
    for name, op_type in (("then_branch", "Neg"), ("else_branch", "Exp")):
        node = helper.make_node(op_type, [x], [name])
        result = helper.make_tensor_value_info(name, TensorProto.FLOAT, MAP)
        sides[name] = helper.make_graph([node], name, [], [result])
    return str(net.op("If", above, **sides))


BUILDS: dict[str, Build] = {
    "antialias": on_map(
        "Resize", weight(0), np.array([1, 1, 0.5, 0.7], "f4"), mode="linear", antialias=1
    ),
    "atan": on_map("Atan"),
    "attention": attention,
    "branches": branches,
    "computed indices": computed_indices,
    "cubic": cubic,
    "dilated average": on_map("AveragePool", kernel_shape=(2, 2), dilations=(2, 3), pads=(1,) * 4),
    "dilated pool": on_map("MaxPool", kernel_shape=(2, 2), dilations=(2, 3)),
    "gelu": on_map("Gelu"),
    "grid sample": grid_sample,
    "gru": gru,
    "hardmax": on_map("Hardmax", axis=1),
    "infinite": on_map("IsInf"),
    "instance norm": on_map("InstanceNormalization", weight(4), weight(4)),
    "layer norm": on_map("LayerNormalization", weight(6)),
    "log-sum-exp": on_map("ReduceLogSumExp", [1, 3]),
    "lrn": on_map("LRN", size=3),
    "Lp pool": on_map("LpPool", kernel_shape=(2, 2)),
    "one-hot": hot,
    "other remainder": on_map("Mod", np.float32(0.3), fmod=1),
    "pixel shuffle": pixel_shuffle,
    "scatter": put,
    "selu": on_map("Selu"),
    "shrink": on_map("Shrink", lambd=0.3),
    "stft": stft,
    "transposed volume": transposed_volume,
    "trilu": on_map("Trilu"),
    "volume": volume,
}


@pytest.mark.parametrize("name", BUILDS)
def test_it_loads_and_runs(name: str, tflite214: OldRuntime) -> None:
    net = Net()
    net.output(BUILDS[name](net))
    proto = net.proto()
    (value,) = proto.graph.input
    x = smooth([dim.dim_value for dim in value.type.tensor_type.shape.dim])
    lowered = lower(as_model(proto))
    assert refused_by(RELEASE, lowered.operators) == []
    (expected,) = run_onnx(proto, {"x": x}).values()
    (result,) = tflite214(lowered.data, {"x": in_layout(x, Layout.NHWC)}).values()
    # Its kernels sum in an order of their own.
    np.testing.assert_allclose(result, in_layout(expected, Layout.NHWC), rtol=1e-4, atol=1e-5)
