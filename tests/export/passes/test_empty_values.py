"""Values without elements, whose reductions ONNX Runtime shapes wrongly."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.bundle import Layout
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model
from support.runtimes import run_onnx, run_tflite


@pytest.mark.parametrize(("shape", "axis"), [((3, 0), -1), ((0, 3), -1), ((2, 3, 0), -2)])
@pytest.mark.parametrize("computed", [True, False])
def test_axes_from_the_end_reduce_nothing(
    shape: tuple[int, ...], axis: int, computed: bool
) -> None:
    net = Net()
    x, other = net.input("x", shape), net.input("other", (4,))
    value = net.op("Relu", x) if computed else x
    for keep in (0, 1):
        net.output(net.op("ReduceSum", value, net.constant((axis,)), keepdims=keep))
    net.output(net.op("Relu", other))
    model = optimize(as_model(net.proto()))
    assert [value.name for value in model.graph.inputs] == ["x", "other"]
    feeds = {"x": np.zeros(shape, np.float32), "other": np.ones(4, np.float32)}
    expected = [np.zeros(shape).sum(axis, keepdims=bool(keep)) for keep in (0, 1)]
    onnx = run_onnx(ir.to_proto(model).SerializeToString(), feeds)
    tflite = run_tflite(lower(model, layout=Layout.NCHW).data, feeds)
    for outputs in (onnx, tflite):
        for got, wanted in zip(outputs.values(), expected, strict=False):
            assert got.shape == wanted.shape
            assert np.array_equal(got, wanted)
