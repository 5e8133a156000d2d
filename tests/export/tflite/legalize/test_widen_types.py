"""float16 and short integers: stored and cast by TFLite, computed in wider types."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeconv.bundle import Layout
from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite import LoweredModel, lower
from support.lowering import Array, Net, as_model, in_layout, operators, smooth
from support.runtimes import run_onnx, run_tflite

MAP = (1, 3, 4, 5)
# float16 has 11 bits.
HALF_TOLERANCE = 2**-10


def proto_of(net: Net, dtype: int) -> onnx.ModelProto:
    """The model with outputs of ``dtype``."""
    proto = net.proto()
    for value in proto.graph.output:
        value.type.tensor_type.elem_type = dtype
    return proto


def check_narrow(net: Net, feeds: dict[str, Array], dtype: int) -> LoweredModel:
    proto = proto_of(net, dtype)
    lowered = lower(as_model(proto))
    got = run_tflite(lowered.data, {k: in_layout(v, Layout.NHWC) for k, v in feeds.items()})
    for name, expected in run_onnx(proto, feeds).items():
        reference = in_layout(expected, Layout.NHWC)
        assert got[name].dtype == reference.dtype
        if dtype == TensorProto.FLOAT16:
            limit = HALF_TOLERANCE * np.abs(reference).max()
            assert np.abs(got[name].astype("f4") - reference.astype("f4")).max() <= limit
        else:
            np.testing.assert_array_equal(got[name], reference)
    return lowered


def test_a_float16_network_computes_in_float32() -> None:
    net = Net()
    rng = np.random.default_rng(0)
    weight = net.constant(rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float16))
    x = net.input("x", MAP, TensorProto.FLOAT16)
    y = net.op("Conv", x, weight, pads=(1, 1, 1, 1))
    y = net.op("Mul", net.op("Relu", y), net.constant(np.float16(0.7)))
    net.output(net.op("Softmax", net.op("Reshape", y, net.constant([1, -1]))), y)
    lowered = check_narrow(net, {"x": smooth(MAP).astype(np.float16)}, TensorProto.FLOAT16)
    assert operators(lowered).count("CAST") == 3
    assert lowered.operators["CAST"] == 5


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Max", "Min"])
@pytest.mark.parametrize(
    ("dtype", "element"),
    [
        ("int16", TensorProto.INT16),
        ("uint16", TensorProto.UINT16),
        ("uint32", TensorProto.UINT32),
    ],
)
def test_short_integers_wrap_around(op_type: str, dtype: str, element: int) -> None:
    limits = np.iinfo(dtype)
    net = Net()
    x, y = (net.input(name, (6,), element) for name in "xy")
    once = net.op(op_type, x, y)
    # The second result depends on all bits that the first one lost.
    net.output(net.op("Div", once, net.constant(np.array(3, dtype))) if dtype != "uint32" else once)
    a = np.array([1, 2, limits.max, limits.max, 300, limits.min], dtype)
    b = np.array([5, 1, limits.max, 1, 299, 7], dtype)
    proto = proto_of(net, element)
    expected = {"Add": a + b, "Sub": a - b, "Mul": a * b}.get(
        op_type, np.maximum(a, b) if op_type == "Max" else np.minimum(a, b)
    )
    if dtype != "uint32":
        expected = (expected / 3).astype(np.int64).astype(dtype)
    ((name, got),) = run_tflite(lower(as_model(proto)).data, {"x": a, "y": b}).items()
    assert name == proto.graph.output[0].name
    np.testing.assert_array_equal(got, expected)


def test_a_cast_through_float16_rounds() -> None:
    net = Net()
    x = net.input("x", MAP)
    half = net.op("Cast", x, to=TensorProto.FLOAT16)
    net.output(net.op("Cast", half, to=TensorProto.FLOAT))
    lowered = check_narrow(net, {"x": smooth(MAP)}, TensorProto.FLOAT)
    assert operators(lowered) == ["CAST", "CAST"]


@pytest.mark.parametrize("like", [False, True])
def test_an_output_that_is_cast_to_float16_is_cast_once(like: bool) -> None:
    net = Net()
    y = net.op("Neg", net.input("x", MAP))
    if like:
        y = net.op("CastLike", y, net.constant(np.float16(0)))
    else:
        y = net.op("Cast", y, to=TensorProto.FLOAT16)
    lowered = check_narrow(net.output(y), {"x": smooth(MAP)}, TensorProto.FLOAT16)
    assert operators(lowered) == ["NEG", "CAST"]


def test_an_input_that_is_an_output() -> None:
    net = Net()
    net.output(net.op("Identity", net.input("x", MAP, TensorProto.FLOAT16)))
    check_narrow(net, {"x": smooth(MAP).astype(np.float16)}, TensorProto.FLOAT16)


def test_a_branch_of_float16() -> None:
    net = Net()
    x = net.input("x", (4,), TensorProto.FLOAT16)
    condition = net.op("Greater", net.op("ReduceSum", x, keepdims=0), net.constant(np.float16(0)))
    sides = {}
    for name, op_type in (("then_branch", "Neg"), ("else_branch", "Exp")):
        node = helper.make_node(op_type, [x], [name])
        result = helper.make_tensor_value_info(name, TensorProto.FLOAT16, (4,))
        sides[name] = helper.make_graph([node], name, [], [result])
    net.output(net.op("If", condition, **sides))
    for sign in (1, -1):
        feeds = {"x": sign * np.array([0.1, 0.2, 0.3, 0.4], np.float16)}
        check_narrow(net, feeds, TensorProto.FLOAT16)


def test_a_quantized_network_with_float16_scales() -> None:
    net = Net()
    pair = net.constant(np.float16(0.05)), net.constant(np.array(120, np.uint8))
    x = net.op("QuantizeLinear", net.input("x", MAP, TensorProto.FLOAT16), *pair)
    y = net.op("Relu", net.op("DequantizeLinear", x, *pair))
    net.output(net.op("DequantizeLinear", net.op("QuantizeLinear", y, *pair), *pair))
    lowered = lower(as_model(proto_of(net, TensorProto.FLOAT16)))
    assert lowered.float_fallback == ()
    assert [info.dtype for info in (*lowered.inputs, *lowered.outputs)] == ["float16", "float16"]


def test_the_bits_of_a_float16_are_refused() -> None:
    net = Net(opset=26)
    x = net.input("x", (4,), TensorProto.FLOAT16)
    net.output(net.op("BitCast", x, to=TensorProto.INT16))
    with pytest.raises(UnsupportedOperator, match="the bits of a float16"):
        lower(as_model(net.proto()))


def test_the_model_is_not_changed() -> None:
    net = Net()
    x = net.input("x", MAP, TensorProto.FLOAT16)
    net.output(net.op("Mul", x, net.constant(np.float16(3))))
    model = as_model(proto_of(net, TensorProto.FLOAT16))
    lower(model)
    assert {value.dtype.name for value in model.graph.outputs} == {"FLOAT16"}
    assert {value.dtype.name for value in model.graph.initializers.values()} == {"FLOAT16"}
    assert len(model.graph) == 1
