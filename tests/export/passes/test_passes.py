"""Each pass: the graph before, the graph after, and the same results."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.passes import optimize
from edgeconv.export.passes.batch_norm import BatchNormToDepthwise
from edgeconv.export.passes.global_pool import MeanToGlobalPool
from edgeconv.models.randomize import structured_input
from support.runtimes import run_onnx


def mean_graph(axes: list[int], keepdims: int, tail: bool = False) -> ir.Model:
    """``y = ReduceMean(x)`` of a 2×3×5×7 input, or ``y = Relu(ReduceMean(x))`` with a tail."""
    shape = {0: 2, 1: 3, 2: 5, 3: 7}
    for axis in axes:
        shape[axis % 4] = 1 if keepdims else 0
    out = ",".join(str(side) for side in shape.values() if side)
    mean = f"ReduceMean<keepdims={keepdims}>(x, axes)"
    body = f"m = {mean}\n y = Relu(m)" if tail else f"y = {mean}"
    return ir.from_onnx_text(
        f'<ir_version: 9, opset_import: ["" : 20]>\n'
        f"g (float[2,3,5,7] x) => (float[{out}] y)\n"
        f"<int64[{len(axes)}] axes = {{{','.join(map(str, axes))}}}>\n{{ {body} }}"
    )


def run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    return next(iter(run_onnx(model, x).values()))


@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [3, 2]])
def test_the_mean_over_a_map_becomes_a_global_pool(
    axes: list[int], keepdims: int, tail: bool
) -> None:
    model = mean_graph(axes, keepdims, tail=tail)
    x = structured_input((2, 3, 5, 7)).numpy()
    expected = run(model, x)
    assert MeanToGlobalPool()(model).modified
    kinds = [node.op_type for node in model.graph]
    assert kinds[0] == "GlobalAveragePool"
    assert ("Reshape" in kinds) == (not keepdims)
    assert [value.name for value in model.graph.outputs] == ["y"]
    # Two orders of summation over 35 values.
    assert np.allclose(run(model, x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axes", [[1], [2], [1, 2, 3], [0, 2, 3]])
def test_other_means_stay(axes: list[int]) -> None:
    assert not MeanToGlobalPool()(mean_graph(axes, keepdims=1)).modified


def test_a_file_of_another_producer_is_simplified() -> None:
    model = ir.from_onnx_text("""
        <ir_version: 9, opset_import: ["" : 20]>
        g (float[1,2] x) => (float[1,2] y)
        <float[2] a = {1.0, 2.0}>
        {
            two = Constant<value = float[2] {2.0, 2.0}>()
            b = Mul(a, two)
            c = Identity(x)
            unused = Exp(x)
            y = Add(c, b)
        }""")
    x = np.array([[1, 2]], np.float32)
    expected = run(model, x)
    optimize(model)
    assert [node.op_type for node in model.graph] == ["Add"]
    assert np.array_equal(run(model, x), expected)


@pytest.mark.parametrize("spatial", [(7,), (5, 7), (3, 4, 5)])
def test_a_lonely_batch_norm_becomes_a_depthwise_convolution(spatial: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    shape = ",".join(map(str, (2, 3, *spatial)))
    values = "{0.5, 1.0, 2.0}", "{-1.0, 0.0, 3.0}", "{0.1, -0.2, 5.0}", "{0.01, 1.0, 9.0}"
    constants = ", ".join(
        f"float[3] {name} = {value}" for name, value in zip("gbmv", values, strict=True)
    )
    model = ir.from_onnx_text(
        f'<ir_version: 9, opset_import: ["" : 20]>\n'
        f"f (float[{shape}] x) => (float[{shape}] y)\n<{constants}>\n"
        "{ y = BatchNormalization<epsilon=0.001>(x, g, b, m, v) }"
    )
    x = rng.standard_normal((2, 3, *spatial)).astype(np.float32)
    expected = run(model, x)
    assert BatchNormToDepthwise()(model).modified
    assert [node.op_type for node in model.graph] == ["Conv"]
    # The scale is folded once instead of subtracting and dividing in turn.
    assert np.allclose(run(model, x), expected, rtol=1e-5, atol=1e-5)


def test_a_batch_norm_of_vectors_stays() -> None:
    model = ir.from_onnx_text("""
        <ir_version: 9, opset_import: ["" : 20]>
        f (float[2,1] x) => (float[2,1] y)
        <float[1] g = {1.0}, float[1] b = {1.0}, float[1] m = {1.0}, float[1] v = {1.0}>
        { y = BatchNormalization(x, g, b, m, v) }""")
    assert not BatchNormToDepthwise()(model).modified


def test_a_body_that_gives_one_value_twice_computes_the_same() -> None:
    """ONNX Runtime 1.31 computes NaN for a Scan of such a body."""
    model = ir.from_onnx_text(
        """<ir_version: 9, opset_import: ["" : 20]>
        g (float[5,4] x) => (float[4] last, float[5,4] y) <float[4] begin = {0, 0, 0, 0}> {
            last, y = Scan <num_scan_inputs = 1, body = b (float[4] s, float[4] row)
                => (float[4] sum, float[4] out) {
                    sum = Add(s, row)
                    out = Identity(sum)
                }>(begin, x)
        }"""
    )
    x = structured_input((5, 4)).numpy()
    found = run_onnx(optimize(model), x)
    np.testing.assert_allclose(found["y"], np.cumsum(x, 0), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found["last"], found["y"][-1])


@pytest.mark.parametrize("negative", [False, True])
def test_a_branch_that_gives_what_the_graph_around_it_computes(negative: bool) -> None:
    """Without the Identity it gives a value that ONNX Runtime does not find in the branch."""
    model = ir.from_onnx_text(
        """<ir_version: 9, opset_import: ["" : 20]>
        g (float[3] x) => (float[3] y) <float zero = {0}> {
            a = Tanh(x)
            sum = ReduceSum <keepdims = 0> (a)
            positive = Greater(sum, zero)
            y = If (positive) <
                then_branch = yes () => (float[3] same) { same = Identity(a) },
                else_branch = no () => (float[3] other) { other = Neg(a) }
            >
        }"""
    )
    x = np.float32([0.5, 1, 2]) * np.float32(-1 if negative else 1)
    found = run_onnx(optimize(model), x)
    np.testing.assert_allclose(found["y"], np.abs(np.tanh(x)), rtol=1e-6)
