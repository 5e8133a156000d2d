"""Operators that read integers as they are: ONNX Runtime's quantizer writes such in QOperator."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.bundle import Layout
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from edgeconv.models.randomize import structured_input
from support.runtimes import run_onnx, run_tflite

SCALE = np.float32(0.03)


def _node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def _graph(nodes: list[onnx.NodeProto], dtype: type[np.generic], **constants: Any) -> ir.Model:
    """QuantizeLinear, operators on its codes ``q``, and DequantizeLinear of their result ``r``."""
    zero = 100 if dtype is np.uint8 else -28
    arrays = {"s": SCALE, "z": np.array(zero, dtype)} | constants
    made = helper.make_graph(
        [_node("QuantizeLinear", "x s z", "q"), *nodes, _node("DequantizeLinear", "r s z", "y")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model, strict_mode=True))


def _litert(model: ir.Model, x: Any) -> Any:
    """The result of the TFLite file."""
    return run_tflite(bytes(lower(model, layout=Layout.NCHW).data), x)["y"]


def _ints(*numbers: int) -> np.ndarray[Any, Any]:
    return np.array(numbers, np.int64)


_PADS = _ints(0, 0, 1, 1, 0, 0, 1, 1)
_FACTORS = np.float32([1, 1, 2, 2])
_EXACT: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "pad with code 0": ([_node("Pad", "q p", "r")], {"p": _PADS}),
    "pad with a code": ([_node("Pad", "q p c", "r")], {"p": _PADS, "c": 7}),
    "reflection": ([_node("Pad", "q p", "r", mode="reflect")], {"p": _PADS}),
    "nearest": ([helper.make_node("Resize", ["q", "", "f"], ["r"])], {"f": _FACTORS}),
    "maximum": ([_node("Max", "q c", "r")], {"c": 105}),
    "two readers": (
        [_node("Transpose", "q", "t", perm=[0, 1, 3, 2]), _node("Min", "q t", "r")],
        {},
    ),
    "concatenation": (
        [_node("Concat", "q c", "r", axis=1)],
        {"c": np.full((1, 2, 8, 8), 109)},
    ),
    "choice": (
        [_node("Greater", "q c", "b"), _node("Where", "b q c", "r")],
        {"c": 103},
    ),
    "parts": (
        [_node("Split", "q", "a b", axis=1, num_outputs=2), _node("Concat", "b a", "r", axis=1)],
        {},
    ),
    "greatest": ([_node("TopK", "q k", "r i", axis=1)], {"k": _ints(3)}),
    "pool, then clip": (
        [
            _node("MaxPool", "q", "m", kernel_shape=[2, 2], strides=[2, 2]),
            _node("Clip", "m c d", "r"),
        ],
        {"c": 90, "d": 120},
    ),
    "slice": ([_node("Slice", "q k l", "r")], {"k": _ints(0, 1), "l": _ints(1, 5)}),
}


def _codes(value: Any, dtype: type[np.generic]) -> Any:
    """A constant of the table, where codes are stated as uint8."""
    if isinstance(value, int) or (isinstance(value, np.ndarray) and value.ndim == 4):
        return (np.asarray(value) - (128 if dtype is np.int8 else 0)).astype(dtype)
    return value


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("case", _EXACT)
def test_results_are_the_same_in_both_formats(case: str, dtype: type[np.generic]) -> None:
    """TFLite files were refused ("the bytes of q have no scale here") or wrong."""
    nodes, constants = _EXACT[case]
    model = _graph(nodes, dtype, **{name: _codes(each, dtype) for name, each in constants.items()})
    x = structured_input((1, 8, 8, 8)).numpy()
    expected = run_onnx(model, x)["y"]
    assert len(np.unique(expected)) > 8
    model = optimize(model)
    np.testing.assert_array_equal(run_onnx(model, x)["y"], expected)
    np.testing.assert_array_equal(_litert(model, x), expected)


def test_relu_of_codes_is_that_of_no_reals() -> None:
    """Zero among the codes is another real number; the TFLite file cut at the real zero."""
    model = _graph([_node("Relu", "q", "r")], np.int8)
    x = structured_input((1, 8, 8, 8)).numpy()
    expected = run_onnx(model, x)["y"]
    assert expected.min() == 28 * SCALE
    model = optimize(model)
    np.testing.assert_array_equal(run_onnx(model, x)["y"], expected)
    np.testing.assert_array_equal(_litert(model, x), expected)


@pytest.mark.parametrize("factor", [2, 1.5, 0.5])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_resize_between_elements_is_within_a_code(dtype: type[np.generic], factor: float) -> None:
    """LiteRT refused the file ("failed to delegate RESIZE_BILINEAR"). ONNX Runtime cuts off."""
    nodes = [helper.make_node("Resize", ["q", "", "f"], ["r"], mode="linear")]
    model = optimize(_graph(nodes, dtype, f=np.float32([1, 1, factor, factor])))
    x = structured_input((1, 8, 8, 8)).numpy()
    expected = run_onnx(model, x)["y"]
    found = _litert(model, x)
    assert expected.shape == found.shape
    assert np.abs(found - expected).max() < 1.01 * SCALE  # one code


def test_codes_of_different_scales_stay_as_they_are() -> None:
    """The larger of two codes is not the larger of two numbers then."""
    second = _node("QuantizeLinear", "x s2 z", "q2")
    model = _graph([second, _node("Max", "q q2", "r")], np.uint8, s2=np.float32(0.05))
    x = structured_input((1, 8, 8, 8)).numpy()
    expected = run_onnx(model, x)["y"]
    np.testing.assert_array_equal(run_onnx(optimize(model), x)["y"], expected)
