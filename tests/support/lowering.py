"""Small ONNX graphs, and the comparison of their TFLite form with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeconv.bundle import Layout
from edgeconv.export.layouts import layout_of
from edgeconv.export.tflite import LoweredModel, lower
from support.runtimes import run_onnx, run_tflite

Array = NDArray[Any]
Arrays = dict[str, Array]

# Both runtimes sum float32 in orders of their own.
FLOAT_TOLERANCE = 1e-5
# The runtimes round a requantization differently: half a step more or less is one quantized value.
STEP = 1.001

BUILTINS = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}


class Net:
    """An ONNX graph that grows by one node per call. Values are their names."""

    def __init__(self, opset: int = 20) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[str] = []
        self.declared: dict[str, Sequence[int]] = {}
        self.initializers: list[onnx.TensorProto] = []

    def input(self, name: str, shape: Sequence[int], dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def constant(self, array: Array | Sequence[int] | float) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def op(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"v{len(self.nodes)}_{index}" for index in range(outputs)]
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def output(self, *names: str) -> Net:
        self.outputs.extend(names)
        return self

    def quantized(self, value: str, scale: float, zero_point: int, dtype: str = "uint8") -> str:
        """Pass ``value`` through QuantizeLinear and DequantizeLinear."""
        pair = self.constant(np.float32(scale)), self.constant(np.array(zero_point, dtype))
        return str(self.op("DequantizeLinear", self.op("QuantizeLinear", value, *pair), *pair))

    def int8_weight(self, weight: Array, axis: int | None) -> tuple[str, Array]:
        """Add a symmetric int8 weight, per channel along ``axis`` or per tensor.

        Returns:
            The name of the dequantized weight, and its scales.
        """
        others = tuple(index for index in range(weight.ndim) if index != axis)
        scales = np.abs(weight).max(axis=None if axis is None else others) / 127
        # A channel of zeros: any scale will do.
        scales = np.asarray(np.where(scales == 0, 1, scales), np.float32)
        along = [1] * weight.ndim
        if axis is not None:
            along[axis] = -1
        codes = np.clip(np.rint(weight / scales.reshape(along)), -127, 127).astype(np.int8)
        zeros = np.zeros(scales.shape, np.int8)
        names = self.constant(codes), self.constant(scales), self.constant(zeros)
        return str(self.op("DequantizeLinear", *names, axis=axis or 0)), scales

    def int32_bias(self, bias: Array, scales: Array) -> str:
        scales = np.asarray(scales, np.float32)
        codes = np.rint(bias / scales).astype(np.int32)
        zeros = np.zeros(scales.shape, np.int32)
        names = self.constant(codes), self.constant(scales), self.constant(zeros)
        return str(self.op("DequantizeLinear", *names, axis=0))

    def proto(self) -> onnx.ModelProto:
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, self.declared[name])
            if name in self.declared
            else helper.make_empty_tensor_value_info(name)
            for name in self.outputs
        ]
        graph = helper.make_graph(self.nodes, "net", self.inputs, outputs, self.initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10
        )
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model)
        return model


def as_model(proto: onnx.ModelProto) -> ir.Model:
    return ir.serde.deserialize_model(proto)


def in_layout(array: Array, layout: Layout) -> Array:
    if array.ndim == 4 and layout is Layout.NHWC:
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1))
    return array


def operators(lowered: LoweredModel) -> list[str]:
    """List the operators of the file, in order."""
    model = schema.ModelT.InitFromPackedBuf(lowered.data, 0)
    codes = [BUILTINS[code.builtinCode] for code in model.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]


def check(
    net: Net | onnx.ModelProto,
    feeds: Mapping[str, Array],
    *,
    layout: Layout = Layout.NHWC,
    step: float | None = None,
) -> LoweredModel:
    """Lower ``net`` and compare its outputs with ONNX Runtime's.

    Args:
        net: the graph.
        feeds: its inputs by name.
        layout: the layout of the TFLite file's inputs and outputs.
        step: the output step of an int8 net; None compares floats.
    """
    proto = net.proto() if isinstance(net, Net) else net
    model = as_model(proto)
    before = ir.serde.serialize_model(model).SerializeToString(deterministic=True)
    lowered = lower(model, layout=layout)
    after = ir.serde.serialize_model(model).SerializeToString(deterministic=True)
    assert before == after, "the lowering changed its input"

    expected = run_onnx(proto, feeds)
    # What has its channels last in the graph itself stays so.
    wanted = {
        value.name: Layout.NCHW if layout_of(value) is Layout.NHWC else layout
        for value in (*model.graph.inputs, *model.graph.outputs)
    }
    got = run_tflite(
        lowered.data, {name: in_layout(array, wanted[name]) for name, array in feeds.items()}
    )
    assert [info.name for info in lowered.inputs] == [value.name for value in proto.graph.input]
    assert [info.name for info in lowered.outputs] == list(expected)
    for info in lowered.outputs:
        reference, result = in_layout(expected[info.name], wanted[info.name]), got[info.name]
        assert result.shape == reference.shape == info.shape
        assert result.dtype == reference.dtype == np.dtype(info.dtype)
        assert_close(result, reference, step)
    return lowered


def assert_close(result: Array, reference: Array, step: float | None) -> None:
    if reference.dtype != np.float32:
        limit = 0.0 if step is None else 1.0
        difference = np.abs(result.astype(np.int64) - reference.astype(np.int64))
        assert difference.max(initial=0) <= limit
    elif step is not None:
        assert np.abs(result - reference).max(initial=0) <= step * STEP
    else:
        scale = np.abs(reference).max(initial=1e-6)
        assert np.isfinite(result).all()
        assert np.abs(result - reference).max(initial=0) <= FLOAT_TOLERANCE * scale


def smooth(shape: Sequence[int], seed: int = 0) -> Array:
    """Draw a structured input: neighbors are correlated, channels and samples differ."""
    rng = np.random.default_rng(seed)
    result = rng.standard_normal(shape)
    for axis in range(2, len(shape)):
        result = (result + np.roll(result, 1, axis)) / 1.4
    return result.astype(np.float32)
