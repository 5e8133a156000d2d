"""A Resize over some axes states all of them, computes the same, and runs in int8."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.models.randomize import structured_input
from support.runtimes import onnx_session, run_onnx


def graph(given: NDArray[np.generic], after: list[int]) -> ir.Model:
    """A convolution, a pool, and a Resize of the map of 8 x 8."""
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3), np.float32)
    inputs = ["small", "", "", "given"] if given.dtype == np.int64 else ["small", "", "given"]
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    made = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["map"], pads=[1, 1, 1, 1]),
            helper.make_node("AveragePool", ["map"], ["small"], **pool),
            helper.make_node("Resize", inputs, ["y"], axes=[-2, -1], mode="linear", name="up"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, *after])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(given, "given")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


@pytest.mark.parametrize(
    ("given", "after"),
    [
        (np.array([13, 11]), [13, 11]),
        (np.array([16, 16]), [16, 16]),
        (np.array([2, 1.5], np.float32), [16, 12]),
    ],
)
def test_all_axes_are_stated(given: NDArray[np.generic], after: list[int]) -> None:
    """ONNX Runtime refused the int8 form: "Number of elements of input 'sizes' (0)"."""
    model = graph(given, after)
    x = structured_input((1, 3, 16, 16)).numpy()
    before = run_onnx(model, x)["y"]
    whole = optimize(model)
    (resize,) = (node for node in whole.graph if node.op_type == "Resize")
    assert "axes" not in resize.attributes
    np.testing.assert_array_equal(run_onnx(whole, x)["y"], before)
    onnx_session(quantize(whole, [(x,)], QuantizeOptions(effort=0)).model, fused=True)
