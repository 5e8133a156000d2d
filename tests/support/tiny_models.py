"""Model files of a few hundred bytes, for tests of the harness."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper


def write_onnx(path: Path, *, shape: tuple[int | str, ...] = ("N", 3, 16, 16)) -> Path:
    """Write a convolution with fixed random weights and a ReLU, from ``x`` to ``y``."""
    channels = shape[1]
    weights = np.random.default_rng(7).normal(size=(4, channels, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (shape[0], 4, *shape[2:]))],
        [numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def write_tflite(
    path: Path, *, dtype: str = "float32", shape: tuple[int, ...] = (1, 4, 4, 2), inputs: int = 1
) -> Path:
    """Write the sum of the input with itself, or of two inputs ``a`` and ``b``.

    int8: the input's scale is 1/64, the output's 1/32, so that nothing saturates.
    """
    kinds = {"float32": schema.TensorType.FLOAT32, "int8": schema.TensorType.INT8}

    def tensor(name: str, scale: float) -> schema.TensorT:
        made = schema.TensorT()
        made.name, made.shape, made.type = name, list(shape), kinds[dtype]
        if dtype == "int8":
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [0]
        return made

    names = ["a", "b"][:inputs]
    add = schema.OperatorT()
    add.inputs = [0, inputs - 1]
    add.outputs = [inputs]
    add.builtinOptionsType = schema.BuiltinOptions.AddOptions
    add.builtinOptions = schema.AddOptionsT()
    graph = schema.SubGraphT()
    graph.tensors = [tensor(name, 1 / 64) for name in names] + [tensor("sum", 1 / 32)]
    graph.inputs, graph.outputs, graph.operators = list(range(inputs)), [inputs], [add]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 2 if dtype == "int8" else 1
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path
