"""Exact products of integers on ONNX Runtime, whatever the processor.

x86 processors without VNNI add products of uint8 and int8 in 16 bits, where they saturate: ONNX
Runtime is wrong there by up to the whole range, unless a session says otherwise.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

Settings = dict[str, str]

# int8 weights beside uint8 activations become uint8.
_UINT8_WEIGHTS = {"session.x64quantprecision": "1"}
# Operators between DequantizeLinear and QuantizeLinear run in float, where such sums are exact.
_IN_FLOAT = {"session.disable_quant_qdq": "1"}


def exact_settings(model: Path | bytes) -> tuple[Settings, Settings]:
    """The settings with which a session of a model is exact, and those for where it has no kernel.

    Beside int8 activations there is no kernel for uint8 weights, and none is needed: those of int8
    and int8 are exact. Where a zero point of weights is left out, ONNX Runtime adds one of the
    wrong shape as it makes them uint8.
    """
    if not saturates():
        return {}, {}
    apart = _IN_FLOAT if _leaves_out_zero_points(model) else {}
    return {**apart, **_UINT8_WEIGHTS}, apart


def _leaves_out_zero_points(model: Path | bytes) -> bool:
    try:
        if isinstance(model, Path):
            proto = onnx.load(model, load_external_data=False)
        else:
            proto = onnx.load_model_from_string(model)
    except Exception:  # of protobuf or onnx; ONNX Runtime says what is wrong with it
        return False
    return any(
        node.op_type == "DequantizeLinear" and not all(node.input[2:3] or [""])
        for node in proto.graph.node
    )


@cache
def saturates() -> bool:
    """Whether this processor does, of which large products are the proof."""
    factor = 127
    constants = {
        "w": np.full((64, 1), factor, np.int8),
        "one": np.float32(1),
        "step": np.float32(factor * factor),
        "zero": np.uint8(0),
        "zero_of_weights": np.int8(0),
    }
    inputs = ["x", "one", "zero", "w", "one", "zero_of_weights", "step", "zero"]
    graph = helper.make_graph(
        [helper.make_node("QLinearMatMul", inputs, ["y"])],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, (1, 64))],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, (1, 1))],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((1, 64), 2 * factor, np.uint8)})
    return bool(found.item() != 128)
