"""An input that is asked for beside inner values is the array that went in.

ONNX Runtime 1.20 to 1.23 return a view of its memory without keeping it, so that calibration read
what was there later.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from edgeconv.export.runtimes import IntermediateOutputs


def test_an_input_among_the_values_is_the_array_itself() -> None:
    shape = (1, 3, 8, 8)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [value("x", onnx.TensorProto.FLOAT, shape)],
        [value("y", onnx.TensorProto.FLOAT, shape)],
    )
    opsets = [onnx.helper.make_opsetid("", 20)]
    model = ir.from_proto(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9))
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    seen, after = IntermediateOutputs(model, ["x", "y"]).run((x,))
    assert seen is x
    assert np.array_equal(after, np.maximum(x, 0))
