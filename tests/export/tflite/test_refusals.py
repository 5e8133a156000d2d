"""What cannot be lowered is refused by name, and never written wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite import demand_known, lower, registry, supported_operators
from support.lowering import Net, as_model

MAP = (1, 4, 6, 6)


def refused(net: Net, message: str) -> None:
    with pytest.raises(UnsupportedOperator, match=message) as refusal:
        lower(as_model(net.proto()))
    error = refusal.value
    assert "\n" not in error.message
    assert "\n" not in error.hint
    assert error.hint, "it does not say what to do"


def with_input(build: Callable[[Net, str], str]) -> Net:
    net = Net()
    return net.output(build(net, net.input("x", MAP)))


def test_an_unknown_operator() -> None:
    net = Net()
    net.output(net.op("Unique", net.input("x", MAP)))
    refused(net, r"n0 \(Unique\): how many elements its result has depends on the data")


def test_what_no_precision_can_write_is_refused_at_once() -> None:
    """Without the values, and so before a calibration."""
    unknown = with_input(lambda net, x: net.op("ReduceSum", net.op("NonZero", x)))
    inner = with_input(
        lambda net, x: net.op("Cast", net.op("Cast", x, to=TensorProto.DOUBLE), to=1)
    )
    for net, message in (
        (unknown, r"n0 \(NonZero\): how many elements"),
        (inner, r"n0 \(Cast\): .*DOUBLE"),
    ):
        with pytest.raises(UnsupportedOperator, match=message):
            demand_known(as_model(net.proto()))


def test_what_can_be_written_passes() -> None:
    net = Net()
    known = net.op("NonZero", net.constant(np.array([0, 1, 1], np.float32)))
    y = net.op("Hardmax", net.op("Acosh", net.input("x", MAP)))
    net.output(net.op("Add", y, net.op("Cast", net.op("ReduceSum", known), to=1)))
    demand_known(as_model(net.proto()))


@pytest.mark.parametrize(
    ("op_type", "written"), [("Erf", "SIGN"), ("Hardmax", "ONE_HOT"), ("Relu", "RELU")]
)
def test_an_operator_knows_the_node_that_it_was_written_for(op_type: str, written: str) -> None:
    lowered = lower(as_model(with_input(lambda net, x: net.op(op_type, x)).proto()))
    assert lowered.origins[written] == f"n0 ({op_type})"


@pytest.mark.parametrize("dtype", [TensorProto.DOUBLE, TensorProto.BFLOAT16])
def test_element_types(dtype: int) -> None:
    net = Net()
    net.output(net.op("Abs", net.input("x", MAP, dtype)))
    refused(net, "input x has the type")


def test_an_element_type_inside() -> None:
    net = with_input(lambda net, x: net.op("Abs", net.op("Cast", x, to=TensorProto.DOUBLE)))
    refused(net, r"n0 \(Cast\): value v0_0 is of type DOUBLE")


def test_an_old_opset() -> None:
    net = Net(opset=12)
    net.output(net.op("Softmax", net.input("x", MAP)))
    refused(net, "opset 12")


def test_a_dynamic_shape() -> None:
    net = Net()
    net.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3)))
    net.output(net.op("Abs", "x"))
    refused(net, "dynamic shape")


@pytest.mark.parametrize("op_type", ["RandomNormalLike", "Bernoulli"])
def test_random_numbers(op_type: str) -> None:
    refused(with_input(lambda net, x: net.op(op_type, x)), "draws random numbers")


def test_random_numbers_without_an_input() -> None:
    """They are no constants, though nothing but constants goes into them."""
    net = with_input(lambda net, x: net.op("Add", x, net.op("RandomUniform", shape=MAP)))
    refused(net, r"n0 \(RandomUniform\): it draws random numbers")


def test_computed_resize_scales() -> None:
    net = Net()
    scales = net.op("Mul", net.input("s", (4,)), net.constant(np.ones(4, np.float32)))
    y = net.op("Resize", net.input("x", MAP), "", scales, mode="linear")
    net.declared[y] = (1, 4, 12, 12)
    net.output(y)
    refused(net, "scales is computed|dynamic shape|no shape")


def test_activations_in_blocks() -> None:
    net = Net(opset=21)
    scales = (
        net.constant(np.ones((1, 2, 6, 6), np.float32)),
        net.constant(np.zeros((1, 2, 6, 6), np.int8)),
    )
    y = net.op("QuantizeLinear", net.input("x", MAP), *scales, block_size=2, axis=1)
    net.output(net.op("DequantizeLinear", y, *scales, block_size=2, axis=1))
    refused(net, r"n0 \(QuantizeLinear\): per-channel activations")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda net, x: net.op(
                "Dropout", x, net.constant(np.float32(0.5)), net.constant(np.array(True))
            ),
            "training_mode",
        ),
        (
            lambda net, x: net.op(
                "GridSample", x, net.constant(np.zeros((1, 2, 2, 2), np.float32)), mode="cube"
            ),
            "mode is cube",
        ),
    ],
)
def test_attributes(build: Callable[[Net, str], str], message: str) -> None:
    refused(with_input(build), message)


def test_a_duplicate_registration() -> None:
    with pytest.raises(ValueError, match="Conv is registered twice"):
        registry.operator("Conv")(lambda ctx: None)


def test_the_operators_that_are_known() -> None:
    names = supported_operators()
    assert {"Conv", "Gemm", "QuantizeLinear", "LayerNormalization"} <= set(names)
    assert list(names) == sorted(names)


def test_the_model_stays_usable_after_a_refusal() -> None:
    model = as_model(with_input(lambda net, x: net.op("Unique", x)).proto())
    for _ in range(2):
        with pytest.raises(UnsupportedOperator):
            lower(model)


def test_dead_nodes_are_no_reason_to_refuse() -> None:
    net = Net()
    x = net.input("x", MAP)
    net.op("Unique", x)
    net.output(net.op("Relu", x))
    assert lower(as_model(net.proto())).operators == {"RELU": 1}


def test_a_value_that_no_runtime_could_hold() -> None:
    net = with_input(lambda net, x: net.op("Expand", x, net.constant([2**22, 4, 6, 6])))
    refused(net, "has 2 GiB or more")


@pytest.mark.parametrize(
    "build",
    [
        lambda net: net.op("ConstantOfShape", net.constant([2**20, 2**20])),
        lambda net: net.op("Tile", net.constant(np.ones(9, np.float32)), net.constant([2**40])),
        lambda net: net.op("Expand", net.constant(np.float32(1)), net.constant([2**33])),
        lambda net: net.op("Range", *map(net.constant, (0, 2**40, 1))),
    ],
)
def test_a_constant_that_nobody_could_hold(build: Callable[[Net], str]) -> None:
    net = with_input(lambda net, x: net.op("Add", x, net.op("ReduceSum", build(net), keepdims=0)))
    with pytest.raises(UnsupportedOperator, match="2 GiB"):
        lower(as_model(net.proto()))


def test_a_constant_that_cannot_be_computed() -> None:
    net = with_input(lambda net, x: net.op("Reshape", x, net.constant([1, -1])))
    proto = net.proto()
    node = helper.make_node("Gather", ["c0", "nine"], ["g"], name="far")
    proto.graph.node.insert(0, node)
    proto.graph.node[1].input[1] = "g"
    proto.graph.initializer.append(helper.make_tensor("nine", TensorProto.INT64, [1], [9]))
    with pytest.raises(UnsupportedOperator, match=r"far \(Gather\): it cannot be computed"):
        lower(as_model(proto))
