"""NaN, infinity and indices beyond a table: what docs/operators.md says of them is measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto

from edgeconv.bundle import Layout
from edgeconv.export.tflite import lower
from support.lowering import Array, Net, as_model
from support.runtimes import run_onnx, run_tflite

NAN, INF = np.nan, np.inf
OldRuntime = Callable[[bytes, dict[str, Array]], dict[str, Array]]
Build = Callable[[Net, str], str]
ROW = np.array([[1, NAN, 3, -2]], np.float32)
OTHER = np.array([[NAN, 1, 2, -3]], np.float32)


def made(build: Build, x: Array) -> tuple[Array, bytes]:
    """ONNX Runtime's result, and the TFLite file."""
    net = Net()
    proto = net.output(build(net, net.input("x", x.shape))).proto()
    expected = next(iter(run_onnx(proto, x).values()))
    return expected, bytes(lower(as_model(proto), layout=Layout.NCHW).data)


def of(op_type: str, **attributes: object) -> Build:
    return lambda net, x: str(net.op(op_type, x, **attributes))


def with_row(op_type: str) -> Build:
    return lambda net, x: str(net.op(op_type, x, net.constant(OTHER)))


def clip(net: Net, x: str) -> str:
    bounds = (net.constant(np.float32(bound)) for bound in (-0.3, 0.7))
    return str(net.op("Clip", x, *bounds))


# The results of ONNX Runtime, LiteRT and tflite-runtime 2.14 for 1, NaN, 3, -2.
ROWS: dict[str, tuple[Build, list[float], list[float], list[float]]] = {
    "Max": (with_row("Max"), [NAN, NAN, 3, -2], [NAN, 1, 3, -2], [NAN, 1, 3, -2]),
    "Min": (with_row("Min"), [NAN, NAN, 2, -3], [NAN, 1, 2, -3], [NAN, 1, 2, -3]),
    "Sign": (of("Sign"), [1, NAN, 1, -1], [1, NAN, 1, -1], [1, 0, 1, -1]),
    "Clip": (clip, [0.7, NAN, 0.7, -0.3], [0.7, NAN, 0.7, -0.3], [0.7, -0.3, 0.7, -0.3]),
    "Thresholded": (of("ThresholdedRelu"), [0, 0, 3, 0], [0, NAN, 3, 0], [0, 0, 3, 0]),
    "Shrink": (of("Shrink"), [1, 0, 3, -2], [1, NAN, 3, -2], [1, 0, 3, -2]),
    "Relu": (of("Relu"), [1, NAN, 3, 0], [1, NAN, 3, 0], [1, NAN, 3, 0]),
    "Elu": (of("Celu"), *3 * ([1, NAN, 3, float(np.expm1(-2))],)),
}


@pytest.mark.parametrize("name", ROWS)
def test_nan(name: str) -> None:
    build, onnx, litert, _ = ROWS[name]
    got, data = made(build, ROW)
    np.testing.assert_allclose(got[0], onnx, rtol=1e-5)
    np.testing.assert_allclose(next(iter(run_tflite(data, ROW).values()))[0], litert, rtol=1e-5)


@pytest.mark.slow
def test_nan_on_the_old_runtime(tflite214: OldRuntime) -> None:
    net = Net()
    x = net.input("x", ROW.shape)
    net.output(*(build(net, x) for build, *_ in ROWS.values()))
    got = tflite214(bytes(lower(as_model(net.proto())).data), {"x": ROW})
    for name, (_, _, _, old) in zip(net.outputs, ROWS.values(), strict=True):
        np.testing.assert_allclose(got[name][0], old, rtol=1e-5)


@pytest.mark.parametrize("op_type", ["Shrink", "ThresholdedRelu", "Celu", "HardSwish", "Softplus"])
def test_infinity_is_passed_on(op_type: str) -> None:
    x = np.array([[INF, 2, -2, -INF]], np.float32)
    expected, data = made(of(op_type), x)
    got = next(iter(run_tflite(data, x).values()))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("index", [10, 10**8, -11, -(10**8)])
@pytest.mark.parametrize("op_type", ["Gather", "GatherND", "ScatterND"])
def test_an_index_stays_inside_its_table(op_type: str, index: int) -> None:
    table = np.arange(40, dtype=np.float32).reshape(10, 4)
    net = Net()
    shape = (1,) if op_type == "Gather" else (1, 1)
    operands = [net.constant(table), net.input("i", shape, TensorProto.INT64)]
    if op_type == "ScatterND":
        operands.append(net.constant(np.full((1, 4), -1, np.float32)))
    data = lower(as_model(net.output(net.op(op_type, *operands)).proto())).data
    got = next(iter(run_tflite(data, np.full(shape, index)).values()))
    expected = table[[index % 10]]
    if op_type == "ScatterND":
        expected = table.copy()
        expected[index % 10] = -1
    np.testing.assert_array_equal(got.reshape(expected.shape), expected)
