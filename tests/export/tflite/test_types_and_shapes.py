"""What becomes of 64-bit integers, of doubles and of open dimensions, as docs/operators.md says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeconv.errors import UnsupportedOperator, UsageError
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.export.tflite import LoweredModel, lower
from support.lowering import Net, as_model, check, smooth
from support.runtimes import tflite_interpreter

MAP = (1, 4, 6, 6)


def types(lowered: LoweredModel) -> set[str]:
    """Element types of the tensors of a file."""
    interpreter = tflite_interpreter(lowered.data)
    return {np.dtype(item["dtype"]).name for item in interpreter.get_tensor_details()}


def test_constant_axes_and_indices_become_int32() -> None:
    net = Net()
    y = net.op("Gather", net.input("x", MAP), net.constant(np.array([2, -1])), axis=2)
    net.output(net.op("ReduceMean", y, net.constant(np.array([1, 3]))))
    assert types(check(net, {"x": smooth(MAP)})) == {"float32", "int32"}


def test_computed_int64_is_kept() -> None:
    net = Net()
    i = net.input("i", (3,), TensorProto.INT64)
    net.output(net.op("Mul", net.op("Add", i, net.constant(np.array(2**40))), i))
    lowered = check(net, {"i": np.array([-(2**20), 0, 7])})
    assert lowered.outputs[0].dtype == "int64"
    assert types(lowered) == {"int64"}


@pytest.mark.parametrize(
    "dtype",
    [TensorProto.DOUBLE, TensorProto.BFLOAT16, TensorProto.UINT64, TensorProto.STRING],
)
def test_other_types_are_refused(dtype: int) -> None:
    net = Net()
    net.output(net.op("Identity", net.input("x", (2, 3), dtype)))
    with pytest.raises(UnsupportedOperator, match=r"input x has the type .*\nhint: use float32"):
        lower(as_model(net.proto()))


def test_doubles_that_are_known_cost_nothing() -> None:
    """A constant may be computed in double; what reaches the network is float32."""
    net = Net()
    half = net.op("Div", net.constant(np.array(1.0)), net.constant(np.array(2.0)))
    net.output(net.op("Mul", net.input("x", MAP), net.op("Cast", half, to=TensorProto.FLOAT)))
    assert types(check(net, {"x": smooth(MAP)})) == {"float32"}


def open_batch(path: Path) -> Path:
    net = Net()
    net.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, "h", "w")))
    net.output(net.op("Relu", "x"))
    onnx.save(net.proto(), path)
    return path


def test_an_open_batch_is_one_and_open_sizes_are_asked_for(tmp_path: Path) -> None:
    path = open_batch(tmp_path / "open.onnx")
    model = capture_file(path, None, input_size=(4, 6), batch=None).graph
    assert lower(model).inputs[0].shape == (1, 4, 6, 3)
    model = capture_file(path, None, input_size=(4, 6), batch=5).graph
    assert lower(model).inputs[0].shape == (5, 4, 6, 3)
    with pytest.raises(
        UsageError, match=r"leaves dimensions 2 and 3 of .* open\nhint: give them with input_size"
    ):
        capture_file(path, None, input_size=None, batch=None)


@pytest.mark.parametrize(
    "build",
    [
        lambda net, x: net.op("Compress", x, net.op("Greater", x, net.constant(np.float32(0)))),
        lambda net, x: net.op("Expand", x, net.input("s", (2,), TensorProto.INT64)),
    ],
)
def test_a_shape_that_only_run_time_knows_is_refused(build: Callable[[Net, str], str]) -> None:
    net = Net()
    net.output(build(net, net.input("x", (6,))))
    with pytest.raises(
        UnsupportedOperator,
        match=r"dynamic shape|has no shape|does not know|is computed by the network",
    ):
        lower(as_model(net.proto()))


@pytest.mark.parametrize("kind", ["ConstantOfShape", "EyeLike"])
def test_an_operator_that_exists_at_export_alone(kind: str) -> None:
    net = Net()
    net.output(net.op(kind, net.input("s", (2, 2)[: 1 + (kind == "EyeLike")], TensorProto.INT64)))
    with pytest.raises(
        UnsupportedOperator, match="its result is computed by the network\nhint: make"
    ):
        lower(as_model(net.proto()))
