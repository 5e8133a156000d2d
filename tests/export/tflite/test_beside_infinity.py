"""What becomes of one infinity where a matrix of weights computes, as docs/operators.md has it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.bundle import Layout
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from support.runtimes import run_onnx, run_tflite

COLUMNS = helper.make_node("Col2Im", ["x", "size", "window"], ["y"])


def resize(mode: str, positions: str = "half_pixel") -> onnx.NodeProto:
    return helper.make_node(
        "Resize",
        ["x", "", "", "size"],
        ["y"],
        mode=mode,
        coordinate_transformation_mode=positions,
        cubic_coeff_a=-0.75,
    )


@pytest.mark.parametrize(
    ("node", "shape", "size", "onnx_runtime", "litert"),
    [
        (COLUMNS, (1, 4, 9), (4, 4), (1, 0), (1, 3)),
        (resize("linear"), (1, 2, 4, 4), (1, 2, 8, 8), (16, 9), (4, 21)),
        (resize("cubic"), (1, 2, 4, 4), (1, 2, 8, 8), (49, 0), (49, 15)),
        (resize("cubic", "align_corners"), (1, 2, 4, 4), (1, 2, 8, 8), (36, 13), (36, 28)),
        (resize("nearest"), (1, 2, 4, 4), (1, 2, 8, 8), (4, 0), (4, 0)),
    ],
)
def test_infinite_elements_and_those_that_are_nan(
    node: onnx.NodeProto,
    shape: tuple[int, ...],
    size: tuple[int, ...],
    onnx_runtime: tuple[int, int],
    litert: tuple[int, int],
) -> None:
    constants = {"size": np.array(size), "window": np.array([2, 2])}
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(constants[each], each)
            for each in node.input
            if each in constants
        ],
    )
    opsets = [helper.make_opsetid("", 20)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    proto = onnx.shape_inference.infer_shapes(proto)
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    x.reshape(-1)[5] = np.inf
    expected = run_onnx(proto, x)["y"]
    lowered = lower(optimize(ir.from_proto(proto)), layout=Layout.NCHW)
    (got,) = run_tflite(lowered.data, x).values()
    found = [(int(np.isinf(each).sum()), int(np.isnan(each).sum())) for each in (expected, got)]
    assert found == [onnx_runtime, litert]
    finite = np.isfinite(expected) & np.isfinite(got)
    # Two sums of 16 products in float32.
    np.testing.assert_allclose(got[finite], expected[finite], atol=1e-5)
