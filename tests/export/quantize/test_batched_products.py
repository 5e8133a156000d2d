"""Products with several constant matrices: locally connected layers, heads, experts."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from edgeconv.bundle import Layout
from edgeconv.export.data.samples import Batch
from edgeconv.export.passes.row_products import RowProductsToConv
from edgeconv.export.passes.steps import Step, run
from edgeconv.export.quantize import QuantizeOptions, RangeMethod, Rounding, quantize
from edgeconv.export.quantize.accuracy.segments import find_segments
from edgeconv.export.quantize.layers import grouped, ungrouped
from edgeconv.export.tflite import lower
from edgeconv.metrics import sqnr_db
from support.lowering import Array, Net, as_model, operators
from support.runtimes import run_onnx, run_tflite

OPTIONS = QuantizeOptions(range_method=RangeMethod.MINMAX, equalization=False)
Shape = tuple[int, ...]
OldRuntime = Callable[[bytes, dict[str, Array]], dict[str, Array]]


def weight(shape: Shape, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(0, 0.4, shape).astype(np.float32)


def product(x: Shape, matrices: Shape) -> ir.Model:
    """One MatMul of an input with constant matrices."""
    net = Net()
    return as_model(
        net.output(net.op("MatMul", net.input("x", x), net.constant(weight(matrices)))).proto()
    )


def batches(x: Shape, count: int = 4) -> list[Batch]:
    rng = np.random.default_rng(2)
    return [[rng.standard_normal(x).astype(np.float32)] for _ in range(count)]


def kinds(model: ir.Model) -> set[str]:
    return {node.op_type for node in model.graph} - {"QuantizeLinear", "DequantizeLinear"}


def results(model: ir.Model, x: Array, *, fused: bool = False) -> Array:
    (result,) = run_onnx(ir.to_proto(model), [x], fused=fused).values()
    return result


@st.composite
def shapes(draw: st.DrawFn, rows: st.SearchStrategy[int]) -> tuple[Shape, Shape]:
    """The shapes of an input, which may have dimensions in front, and of its matrices."""
    matrices = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=2)))
    lead = tuple(draw(st.lists(st.integers(1, 3), max_size=1)))
    depth, units = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    return (*lead, *matrices, draw(rows), depth), (*matrices, depth, units)


@examples(max_examples=30, deadline=None)
@given(shapes(st.just(1)))
def test_single_rows_become_a_convolution_of_the_same_result(given: tuple[Shape, Shape]) -> None:
    model = product(*given)
    (x,) = batches(given[0])[0]
    expected = results(model, x)
    np.testing.assert_allclose(expected, x @ weight(given[1]), rtol=1e-5, atol=1e-5)
    after = run(model, [Step(RowProductsToConv(), "the only one")])
    assert kinds(after) == {"Reshape", "Conv"}
    got = results(after, x)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "matrices"),
    [((4, 2, 8), (4, 8, 3)), ((1, 8), (4, 8, 3)), ((1, 1, 8), (4, 8, 3)), ((1, 8), (8, 3))],
)
def test_other_products_stay(x: Shape, matrices: Shape) -> None:
    model = product(x, matrices)
    assert kinds(run(model, [Step(RowProductsToConv(), "the only one")])) == {"MatMul"}


def test_a_weight_that_something_else_reads_stays_as_it_is() -> None:
    net = Net()
    x, matrices = net.input("x", (4, 1, 8)), net.constant(weight((4, 8, 3)))
    net.output(net.op("MatMul", x, matrices), net.op("Neg", matrices))
    model = as_model(net.proto())
    (row,) = batches((4, 1, 8))[0]
    expected = run_onnx(ir.to_proto(model), [row])
    after = run(model, [Step(RowProductsToConv(), "the only one")])
    got = run_onnx(ir.to_proto(after), [row])
    for a, b in zip(expected.values(), got.values(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)


@examples(max_examples=12, deadline=None)
@given(shapes(st.sampled_from([1, 32, 33, 50])))
def test_integer_products_are_within_a_step_on_both_runtimes(given: tuple[Shape, Shape]) -> None:
    model = product(*given)
    quantized = quantize(model, batches(given[0]), OPTIONS)
    assert quantized.float_fallback == ()
    (x,) = batches(given[0])[0]
    exact = results(quantized.model, x)
    *_, last = (node for node in quantized.model.graph if node.op_type == "QuantizeLinear")
    scale = last.inputs[1]
    assert scale is not None
    assert scale.const_value is not None
    step = 1.001 * float(scale.const_value.numpy())
    assert np.abs(results(quantized.model, x, fused=True) - exact).max() <= step
    lowered = lower(quantized.model, layout=Layout.NCHW)
    assert lowered.float_fallback == ()
    (got,) = run_tflite(lowered.data, {"x": x}).values()
    assert np.abs(got.reshape(exact.shape) - exact).max() <= step
    # Half a step of each element of x and of the weight, and a step of the result, half of which
    # is where the zero point moves the end of the range.
    matrices = np.abs(weight(given[1]))
    x_step, w_step = (
        np.ptp(np.append(np.concatenate(batches(given[0])), 0)) / 255,
        matrices.max() / 127,
    )
    bound = x_step / 2 * matrices.sum(axis=-2, keepdims=True)
    bound = bound + w_step / 2 * (np.abs(x) + x_step).sum(axis=-1, keepdims=True) + step
    assert (np.abs(exact - x @ weight(given[1])) <= 1.001 * bound).all()


def test_one_row_per_matrix_is_one_integer_convolution() -> None:
    quantized = quantize(product((6, 1, 16), (6, 16, 8)), batches((6, 1, 16)), OPTIONS)
    lowered = lower(quantized.model)
    assert (
        {"CONV_2D"} <= set(operators(lowered)) <= {"CONV_2D", "RESHAPE", "QUANTIZE", "DEQUANTIZE"}
    )
    scales = [
        node.inputs[1].const_value.numpy()
        for node in quantized.model.graph
        if node.op_type == "DequantizeLinear" and node.attributes.get_int("axis", -1) == 0
        if node.inputs[1] is not None and node.inputs[1].const_value is not None
    ]
    assert [each.shape for each in scales] == [(6 * 8,)]  # one for each output


def test_many_rows_are_one_integer_product_with_one_scale() -> None:
    shape = (3, 40, 16)
    quantized = quantize(product(shape, (3, 16, 8)), batches(shape), OPTIONS)
    lowered = lower(quantized.model)
    assert lowered.operators["BATCH_MATMUL"] == 2  # the first version with int8
    (matmul,) = (node for node in quantized.model.graph if node.op_type == "MatMul")
    assert matmul.inputs[1] is not None
    dequantize = matmul.inputs[1].producer()
    assert dequantize is not None
    codes, scale = (value.const_value for value in dequantize.inputs[:2] if value is not None)
    assert codes is not None
    assert scale is not None
    assert (codes.dtype, prod(scale.shape.numpy())) == (ir.DataType.INT8, 1)
    expected = np.abs(weight((3, 16, 8))).max() / 127
    assert float(scale.numpy()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rows", [2, 31])
def test_a_few_rows_stay_in_float_and_are_named(rows: int) -> None:
    shape = (3, rows, 16)
    net = Net()
    x = net.op("Relu", net.input("x", shape))
    model = as_model(net.output(net.op("MatMul", x, net.constant(weight((3, 16, 8))))).proto())
    quantized = quantize(model, batches(shape), OPTIONS)
    (line,) = quantized.float_fallback
    assert "(MatMul)" in line
    assert "fewer than 32 rows" in line


def test_products_between_a_transform_and_its_inverse_stay_in_float() -> None:
    net = Net(opset=20)
    x = net.input("x", (1, 8, 12, 1))
    axis = net.constant(np.int64(1))
    spectrum = net.op("DFT", x, "", axis)
    product = net.op("MatMul", spectrum, net.constant(weight((8, 2, 2)) @ np.diag([9.0, 0.1])[:2]
                                                      .astype(np.float32)))  # fmt: skip
    net.output(net.op("Relu", net.op("DFT", product, "", axis, inverse=1)))
    quantized = quantize(as_model(net.proto()), batches((1, 8, 12, 1)), OPTIONS)
    left = {line.partition("(")[2].partition(")")[0] for line in quantized.float_fallback}
    assert left == {"DFT", "MatMul"}


def test_the_layers_view_of_several_matrices() -> None:
    array = weight((2, 3, 5, 7))
    net = Net()
    net.output(net.op("MatMul", net.input("x", (2, 3, 32, 5)), net.constant(array)))
    (node,) = as_model(net.proto()).graph
    view = grouped(node, array)
    assert view.shape == (6, 7, 5, 1)
    np.testing.assert_array_equal(view[4, :, :, 0], array[1, 1].T)
    np.testing.assert_array_equal(ungrouped(node, view, array.shape), array)


def test_no_channel_is_rescaled_in_front_of_several_matrices() -> None:
    """Such a rewrite would scale the first matrix alone."""
    net = Net()
    x = net.op("Gemm", net.input("x", (32, 5)), net.constant(weight((5, 6))))
    net.output(net.op("MatMul", x, net.constant(weight((3, 6, 4)))))
    assert find_segments(as_model(net.proto()).graph) == []


def test_learned_rounding_leaves_several_matrices_as_they_are() -> None:
    shape = (3, 40, 16)
    options = QuantizeOptions(
        range_method=RangeMethod.MINMAX, equalization=False, rounding=Rounding.ADAPTIVE
    )
    (x,) = batches(shape)[0]
    expected, got = (
        results(quantize(product(shape, (3, 16, 8)), batches(shape), each).model, x)
        for each in (OPTIONS, options)
    )
    assert sqnr_db(expected, got) > 60


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(6, 1, 16), (6, 40, 16), (2, 6, 40, 16), (40, 16)])
def test_the_old_runtime_computes_them_too(shape: Shape, tflite214: OldRuntime) -> None:
    quantized = quantize(product(shape, (6, 16, 8)), batches(shape), OPTIONS)
    (x,) = batches(shape)[0]
    lowered = lower(quantized.model, layout=Layout.NCHW)
    (got,) = tflite214(bytes(lowered.data), {"x": x}).values()
    (expected,) = run_tflite(lowered.data, {"x": x}).values()
    assert np.unique(expected).size > 30
    step = np.diff(np.unique(expected)).min()
    assert np.abs(got - expected).max() <= 1.001 * step
