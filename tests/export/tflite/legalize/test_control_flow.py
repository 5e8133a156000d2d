"""Branches, loops, functions and empty tensors: what is written out before the lowering."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from edgeconv.bundle import Layout
from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model, check, operators, smooth
from support.runtimes import run_onnx, run_tflite


def read(text: str) -> onnx.ModelProto:
    """A model in ONNX's own notation."""
    model = parser.parse_model(text)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'


def test_a_known_condition_takes_one_side() -> None:
    model = read(
        HEAD
        + """net (float[2, 3] x) => (float[2, 3] y) {
            yes = Constant <value = bool {1}> ()
            y = If (yes) <
                then_branch = a () => (float[2, 3] p) { p = Relu (x) },
                else_branch = b () => (float[2, 3] q) { q = Exp (x) }>
        }"""
    )
    lowered = check(model, {"x": smooth((2, 3))})
    assert operators(lowered) == ["RELU"]


@pytest.mark.parametrize("positive", [True, False])
def test_a_computed_condition_chooses_between_both_sides(positive: bool) -> None:
    model = read(
        HEAD
        + """net (float[2, 3] x) => (float[2, 3] y) {
            sum = ReduceSum <keepdims = 0> (x)
            zero = Constant <value = float {0}> ()
            above = Greater (sum, zero)
            y = If (above) <
                then_branch = a () => (float[2, 3] p) { p = Neg (x) },
                else_branch = b () => (float[2, 3] q) { q = Exp (x) }>
        }"""
    )
    x = np.abs(smooth((2, 3)))
    assert "SELECT_V2" in operators(check(model, {"x": x if positive else -x}))


def test_sides_of_two_shapes_are_refused() -> None:
    model = read(
        HEAD
        + """net (bool c, float[2, 3] x) => (y) {
            y = If (c) <
                then_branch = a () => (float[2, 3] p) { p = Relu (x) },
                else_branch = b () => (float[3, 2] q) { q = Transpose (x) }>
        }"""
    )
    with pytest.raises(
        UnsupportedOperator, match="differ in shape\nhint: make the condition constant"
    ):
        lower(as_model(model))


LOOP = """net (float[3, 4] x) => (float[3, 4] last, float[n, 3, 4] every) {{
    count = Constant <value = int64 {{{count}}}> ()
    going = Constant <value = bool {{1}}> ()
    last, every = Loop (count, going, x) <
        body = step (int64 i, bool on, float[3, 4] state)
            => (bool more, float[3, 4] next, float[3, 4] row) {{
            limit = Constant <value = int64 {{{limit}}}> ()
            more = Less (i, limit)
            number = Cast <to = 1> (i)
            next = Add (state, number)
            row = Sin (next)
        }}>
}}"""


@pytest.mark.parametrize(("count", "limit"), [(3, 9), (9, 2), (1, 9)])
def test_a_loop_ends_by_its_count_or_by_its_condition(count: int, limit: int) -> None:
    model = read(HEAD + LOOP.format(count=count, limit=limit))
    x = smooth((3, 4))
    lowered = lower(as_model(model))
    expected = run_onnx(model, {"x": x})
    got = run_tflite(lowered.data, {"x": x})
    for name, array in expected.items():
        assert got[name].shape == array.shape
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_loop_without_end_is_refused() -> None:
    with pytest.raises(UnsupportedOperator, match="more than the 512 iterations"):
        lower(as_model(read(HEAD + LOOP.format(count=1000, limit=1000))))


def test_a_loop_whose_end_is_computed_is_refused() -> None:
    model = read(
        HEAD
        + """net (int64 n, float[3] x) => (float[3] y) {
            going = Constant <value = bool {1}> ()
            y = Loop (n, going, x) <
                body = step (int64 i, bool on, float[3] state) => (bool on2, float[3] next) {
                    on2 = Identity (on)
                    next = Neg (state)
                }>
        }"""
    )
    with pytest.raises(UnsupportedOperator, match="number of its iterations is computed"):
        lower(as_model(model))


@pytest.mark.parametrize("backward", [0, 1])
def test_a_scan_along_an_inner_axis(backward: int) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "slice"], ["next"]),
            helper.make_node("Identity", ["next"], ["row"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [2]),
            helper.make_tensor_value_info("slice", TensorProto.FLOAT, [2]),
        ],
        [
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [2]),
            helper.make_tensor_value_info("row", TensorProto.FLOAT, [2]),
        ],
    )
    net = Net()
    x = net.input("x", (2, 4))
    start = net.constant(np.zeros(2, np.float32))
    last, rows = net.op(
        "Scan",
        start,
        x,
        outputs=2,
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_input_directions=[backward],
        scan_output_axes=[1],
        scan_output_directions=[backward],
    )
    check(net.output(last, rows), {"x": smooth((2, 4))})


def test_the_functions_of_a_model() -> None:
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20, "own" : 1]>\n'
        + """net (float[2, 3] x) => (float[2, 3] y) {
            middle = own.leak <slope = 0.25> (x)
            y = own.leak <slope = 0.5> (middle)
        }
        <domain: "own", opset_import: ["" : 20]>
        leak <slope> (a) => (b) { b = LeakyRelu <alpha: float = @slope> (a) }"""
    )
    # onnx infers no shapes through functions of a model.
    lowered = lower(as_model(model))
    assert operators(lowered) == ["LEAKY_RELU", "LEAKY_RELU"]
    x = smooth((2, 3))
    (expected,) = run_onnx(model, {"x": x}).values()
    (got,) = run_tflite(lowered.data, {"x": x}).values()
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_attention_is_written_out() -> None:
    net = Net(opset=23)
    inputs = [net.input(name, (1, 2, 5, 4)) for name in "qkv"]
    net.output(net.op("Attention", *inputs, is_causal=1))
    model = net.proto()
    feeds = {name: smooth((1, 2, 5, 4), seed) for seed, name in enumerate("qkv")}
    lowered = lower(as_model(model), layout=Layout.NCHW)
    assert operators(lowered).count("SELECT_V2") == 0
    (got,) = run_tflite(lowered.data, feeds).values()
    (expected,) = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_an_attention_without_a_mask_adds_none() -> None:
    net = Net(opset=23)
    net.output(net.op("Attention", *(net.input(name, (1, 2, 5, 4)) for name in "qkv")))
    names = operators(lower(as_model(net.proto()), layout=Layout.NCHW))
    assert names == ["MUL", "MUL", "BATCH_MATMUL", "SOFTMAX", "BATCH_MATMUL"]


def test_tensors_without_elements() -> None:
    net = Net()
    x, nothing = net.input("x", (2, 3)), net.input("nothing", (0, 3))
    joined = net.op("Concat", nothing, x, nothing, axis=0)
    left = net.op("Slice", x, net.constant([2]), net.constant([2]))
    total = net.op("Add", joined, net.op("ReduceSum", nothing, net.constant([0]), keepdims=1))
    feeds = {"x": smooth((2, 3)), "nothing": np.zeros((0, 3), np.float32)}
    check(net.output(total, left, net.op("Identity", nothing)), feeds)


def test_weights_of_a_body_are_weights() -> None:
    """The initializers of a branch are known, and no inputs."""
    weight = numpy_helper.from_array(smooth((3, 2)), "weight")
    side = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["p"])],
        "side",
        [],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [2, 2])],
        [weight],
    )
    net = Net()
    net.input("x", (2, 3))
    y = net.op("If", net.constant(np.array(True)), then_branch=side, else_branch=side)
    assert operators(check(net.output(y), {"x": smooth((2, 3))})) == ["FULLY_CONNECTED"]
