"""A bias that an InstanceNormalization subtracts again is not in the files."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F  # noqa: N812  # as PyTorch's own pages call it

from edgeconv.export.passes import optimize
from support.runtimes import run_onnx


def graph(operator: str, outputs: list[str]) -> ir.Model:
    """A convolution of 3 to 3 channels, and a norm of its result."""
    values = {
        "weight": np.random.default_rng(0).standard_normal((3, 3, 5, 5), np.float32),
        "bias": np.random.default_rng(1).standard_normal(3, np.float32),
        "ones": np.ones(3, np.float32),
        "zeros": np.zeros(3, np.float32),
    }
    made = helper.make_graph(
        [
            helper.make_node(operator, ["x", "weight", "bias"], ["map"], pads=[2, 2, 2, 2]),
            helper.make_node("InstanceNormalization", ["map", "ones", "zeros"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [
            helper.make_tensor_value_info(each, TensorProto.FLOAT, [1, 3, 32, 32])
            for each in outputs
        ],
        [numpy_helper.from_array(array, name) for name, array in values.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_the_norm_makes_no_rounding_of_a_bias_large(operator: str) -> None:
    """On inputs of a millionth, the rounding of the bias was a hundredth of the result."""
    model = graph(operator, ["y"])
    x = np.random.default_rng(2).standard_normal((1, 3, 32, 32), np.float32) * np.float32(1e-6)
    weight = torch.tensor(model.graph.initializers["weight"].const_value.numpy()).double()
    convolved = (F.conv2d if operator == "Conv" else F.conv_transpose2d)(
        torch.from_numpy(x).double(), weight, padding=2
    )
    exact = F.instance_norm(convolved).numpy()
    optimized = optimize(model)
    (convolution,) = (node for node in optimized.graph if node.op_type == operator)
    assert len([value for value in convolution.inputs if value is not None]) == 2
    off = np.abs(run_onnx(optimized, x)["y"] - exact).max()
    # A few units in the last place; the bias alone has 6e-8 of 1, where the map has 1e-5.
    assert off < 1e-5 * np.abs(exact).max()


def test_a_bias_that_something_else_reads_stays() -> None:
    model = graph("Conv", ["y", "map"])
    x = np.random.default_rng(2).standard_normal((1, 3, 32, 32), np.float32)
    before = run_onnx(model, x)
    after = run_onnx(optimize(model), x)
    np.testing.assert_array_equal(after["map"], before["map"])
