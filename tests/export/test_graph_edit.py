"""The shared edits of a graph: free names, constants, descriptions, consumers, clamps."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeconv.export.graph_edit import (
    GraphEditor,
    all_values,
    clamp_bounds,
    constant_array,
    describe,
    known_array,
    only_consumer,
)
from edgeconv.export.precision.int8_dynamic_onnx import quantize_dynamically


def model_of(text: str) -> ir.Model:
    return ir.serde.deserialize_model(
        onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> {text}')
    )


CHAIN = (
    "g (float[1,4] x) => (float[1,4] y) <float[1] c = {2}>"
    "{ a = Mul(x, c)  b = Relu(a)  y = Add(b, b) }"
)


@pytest.mark.parametrize("taken", ["x", "c", "a", "y"])
def test_a_free_name_is_none_of_an_input_constant_or_result(taken: str) -> None:
    editor = GraphEditor(model_of(CHAIN).graph)
    assert editor.free_name(taken) == f"{taken}_"
    assert editor.free_name(taken) == f"{taken}__"


def test_names_inside_a_body_are_taken() -> None:
    model = model_of(
        "g (bool t, float[2] x) => (float[2] y) { y = If (t) <"
        "then_branch = one () => (float[2] p) { p = Relu(x) }, "
        "else_branch = two () => (float[2] q) { inner = Abs(x) q = Neg(inner) }> }"
    )
    editor = GraphEditor(model.graph)
    assert {"x", "y", "p", "q", "inner"} <= {value.name for value in all_values(model.graph)}
    assert editor.free_name("inner") == "inner_"


def test_a_constant_gets_a_free_name_and_keeps_dtype_and_shape() -> None:
    graph = model_of(CHAIN).graph
    value = GraphEditor(graph).constant("a", np.arange(6, dtype=np.int8).reshape(2, 3).T)
    assert value.name == "a_"
    assert graph.initializers["a_"] is value
    assert value.dtype == ir.DataType.INT8
    assert value.shape == (3, 2)
    np.testing.assert_array_equal(constant_array(value), [[0, 3], [1, 4], [2, 5]])


def test_a_scalar_constant_stays_a_scalar() -> None:
    value = GraphEditor(model_of(CHAIN).graph).constant("s", np.float32(0.5))
    assert value.shape == ()
    assert value.dtype == ir.DataType.FLOAT


def test_a_description_is_copied_but_for_what_is_stated() -> None:
    graph = model_of(CHAIN).graph
    like, value = graph.inputs[0], ir.val("v")
    describe(value, like)
    assert (value.shape, value.dtype) == (like.shape, ir.DataType.FLOAT)
    describe(value, like, shape=(2, 2), dtype=ir.DataType.INT8)
    assert value.shape == (2, 2)
    assert value.dtype == ir.DataType.INT8
    assert like.dtype == ir.DataType.FLOAT


def test_the_only_consumer() -> None:
    graph = model_of(CHAIN).graph
    multiply, relu, add = graph
    assert only_consumer(multiply.outputs[0]) is relu
    assert only_consumer(multiply.outputs[0], "Relu") is relu
    assert only_consumer(multiply.outputs[0], "Clip") is None
    assert only_consumer(relu.outputs[0]) is None, "it is read twice"
    assert only_consumer(add.outputs[0]) is None, "it is an output"


@pytest.mark.parametrize(
    ("clamp", "bounds"),
    [
        ("Relu(x)", (0.0, np.inf)),
        ("Clip(x, low, high)", (-1.0, 6.0)),
        ("Clip(x, , high)", (-np.inf, 6.0)),
        ("Clip(x, low)", (-1.0, np.inf)),
        ("Clip(x)", (-np.inf, np.inf)),
        ("Clip(x, low, computed)", None),
        ("Sigmoid(x)", None),
    ],
)
def test_clamp_bounds(clamp: str, bounds: tuple[float, float] | None) -> None:
    model = model_of(
        "g (float[4] x, float computed) => (float[4] y) "
        f"<float low = {{-1}}, float high = {{6}}> {{ y = {clamp} }}"
    )
    assert clamp_bounds(model.graph[0]) == bounds


def test_a_bound_may_be_known_by_other_means() -> None:
    model = model_of("g (float[4] x, float high) => (float[4] y) { y = Clip(x, , high) }")
    assert clamp_bounds(model.graph[0], lambda value: np.float32([3])) == (-np.inf, 3.0)


def test_a_constant_node_is_known() -> None:
    model = model_of("g () => (float[2] y) { y = Constant <value_floats = [1.0, 2.0]> () }")
    np.testing.assert_array_equal(known_array(model.graph.outputs[0]), [1, 2])
    assert known_array(model_of(CHAIN).graph.inputs[0]) is None


def test_one_weight_quantized_along_two_axes_is_stored_twice() -> None:
    """Gemm with and without transB reads the other axis of the same weight as its channels."""
    model = model_of(
        "g (float[1,2] x) => (float[1,2] y, float[1,2] z) <float[2,2] w = {1, 2, 30, 40}>"
        "{ y = Gemm <transB = 1> (x, w)  z = Gemm (x, w) }"
    )
    quantized = quantize_dynamically(model).model
    weights = {
        tuple(constant_array(node.inputs[1]).reshape(-1))
        for node in quantized.graph
        if node.op_type == "MatMulInteger"
    }
    assert len(weights) == 2
