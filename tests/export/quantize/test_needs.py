"""Ranges cover what the readers of an activation can tell apart, and no more."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.bundle import Layout
from edgeconv.errors import DataError
from edgeconv.export.data.samples import Batch
from edgeconv.export.quantize import QuantizedModel, QuantizeOptions, RangeMethod, quantize
from edgeconv.export.quantize.needs import operand_need
from edgeconv.export.quantize.parameters import Range
from edgeconv.export.tflite import lower
from edgeconv.metrics import Sqnr
from support.lowering import Array, Net, as_model
from support.runtimes import run_onnx, run_tflite

LENGTH = 6
LOWEST = float(np.finfo(np.float32).min)
UPPER = np.triu(np.ones((LENGTH, LENGTH), np.float32), 1)
Mask = Callable[[Net, str, float], str]


def weight(seed: int) -> Array:
    return np.random.default_rng(seed).normal(0, 0.7, (8, 8)).astype(np.float32)


def samples(count: int = 12) -> list[Batch]:
    rng = np.random.default_rng(3)
    drawn = rng.standard_normal((count, 1, LENGTH, 8)).astype(np.float32)
    drawn += np.roll(drawn, 1, 2)
    drawn[:, :, -2:] = 0  # padding, which the computed masks leave out
    return [[array] for array in drawn]


def attention(mask: Mask, number: float) -> ir.Model:
    """Attention to constants, whose scores ``mask`` fills with ``number`` where it likes.

    That keys and values are constant matrices keeps the Softmax and the mask in integers.
    """
    net = Net()
    x = net.input("x", (1, LENGTH, 8))
    query = net.op("MatMul", x, net.constant(weight(1)))
    # Keys that the network computes would leave the scores in float, and the mask beside them.
    scores = net.op("MatMul", query, net.constant(4 * weight(2)[:, :LENGTH]))
    masked = mask(net, scores, number)
    values = net.constant(weight(3)[:LENGTH])
    y = net.op("MatMul", net.op("Softmax", masked, axis=-1), values)
    return as_model(net.output(net.op("MatMul", y, net.constant(weight(4)))).proto())


def added(net: Net, scores: str, number: float) -> str:
    constant = np.where(UPPER > 0, np.float32(number), np.float32(0))
    return str(net.op("Add", scores, net.constant(constant)))


def subtracted(net: Net, scores: str, number: float) -> str:
    constant = np.where(UPPER > 0, np.float32(-number), np.float32(0))
    return str(net.op("Sub", scores, net.constant(constant)))


def filled(net: Net, scores: str, number: float) -> str:
    return str(net.op("Where", net.constant(UPPER > 0), net.constant(np.float32(number)), scores))


def padding(net: Net) -> str:
    """Whether a position is padding, as the network finds it in its input, [1, 1, LENGTH]."""
    size = net.op("ReduceSum", net.op("Abs", "x"), net.constant([2]), keepdims=0)
    flat = net.op("Not", net.op("Greater", size, net.constant(np.float32(0))))
    return str(net.op("Unsqueeze", flat, net.constant([1])))


def computed(net: Net, scores: str, number: float) -> str:
    zero, full = net.constant(np.float32(0)), net.constant(np.float32(number))
    return str(net.op("Add", scores, net.op("Where", padding(net), full, zero)))


def multiplied(net: Net, scores: str, number: float) -> str:
    ones = net.op("Cast", padding(net), to=1)
    # Zero times infinity is NaN, so that no network has it.
    full = net.constant(np.float32(max(number, LOWEST)))
    return str(net.op("Add", scores, net.op("Mul", ones, full)))


def scaled_after(net: Net, scores: str, number: float) -> str:
    return str(net.op("Div", computed(net, scores, number), net.constant(np.float32(2))))


def in_another_shape(net: Net, scores: str, number: float) -> str:
    shape = net.constant([1, 1, LENGTH, LENGTH])
    wide = added(net, str(net.op("Reshape", scores, shape)), number)
    return str(net.op("Reshape", wide, net.constant([1, LENGTH, LENGTH])))


MASKS = [added, subtracted, filled, computed, multiplied, scaled_after, in_another_shape]


def on_both(quantized: QuantizedModel, batch: Batch) -> list[Array]:
    (onnx,) = run_onnx(ir.to_proto(quantized.model), batch, fused=True).values()
    (tflite,) = run_tflite(lower(quantized.model, layout=Layout.NCHW).data, batch).values()
    return [onnx, tflite]


def decibels(model: ir.Model, method: RangeMethod = RangeMethod.MINMAX) -> list[float]:
    """SQNR of the two int8 formats over samples that calibration did not see."""
    drawn = samples()
    quantized = quantize(model, drawn[:8], QuantizeOptions(range_method=method))
    ratios = [Sqnr(), Sqnr()]
    for batch in drawn[8:]:
        (expected,) = run_onnx(ir.to_proto(model), batch).values()
        ratios = [
            ratio + Sqnr.between(expected, got)
            for ratio, got in zip(ratios, on_both(quantized, batch), strict=True)
        ]
    return [ratio.db for ratio in ratios]


@functools.cache
def mildly_masked(mask: Mask) -> float:
    """By -30: the scores reach from -30 to 30, so that it leaves them their steps."""
    return min(decibels(attention(mask, -30.0)))


@pytest.mark.parametrize("number", [-1e4, -1e9, LOWEST, -np.inf])
@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_costs_no_steps_of_the_scores(mask: Mask, number: float) -> None:
    mild = mildly_masked(mask)
    assert mild > 15
    # The mask itself may cost half a bit, because it lies somewhat below the scores.
    assert min(decibels(attention(mask, number))) > mild - 3


@pytest.mark.parametrize("method", [RangeMethod.PERCENTILE, RangeMethod.MSE, RangeMethod.ENTROPY])
def test_a_mask_has_no_part_in_a_clipped_range(method: RangeMethod) -> None:
    assert min(decibels(attention(filled, -1e9), method)) > 12


def test_the_mask_and_the_softmax_are_integers() -> None:
    assert quantize(attention(added, -1e9), samples()).float_fallback == ()


def test_a_row_that_is_masked_as_a_whole_is_uniform() -> None:
    def rows(net: Net, scores: str, number: float) -> str:
        constant = np.zeros((LENGTH, LENGTH), np.float32)
        constant[2] = number
        return str(net.op("Add", scores, net.constant(constant)))

    # So low that float32 forgets the scores in that row, as it does not with -1e9.
    assert min(decibels(attention(rows, -1e30))) > min(decibels(attention(rows, 0.0))) - 3


def test_a_nan_that_the_network_asks_for_stays_one() -> None:
    def safe(net: Net, scores: str, number: float) -> str:
        constant = np.where(UPPER > 0, np.float32(number), np.float32(0))
        constant[2] = number  # Softmax makes NaN of it, and the network zeros
        return str(net.op("Add", scores, net.constant(constant)))

    net = Net()
    x = net.input("x", (1, LENGTH, 8))
    query = net.op("MatMul", x, net.constant(weight(1)))
    scores = net.op("MatMul", query, net.op("Transpose", query, perm=[0, 2, 1]))
    soft = net.op("Softmax", safe(net, scores, -np.inf), axis=-1)
    soft = net.op("Where", net.op("IsNaN", soft), net.constant(np.float32(0)), soft)
    net.output(net.op("MatMul", net.op("MatMul", soft, query), net.constant(weight(4))))
    model = as_model(net.proto())
    quantized = quantize(model, samples())
    assert any("(Softmax): integers have no NaN" in line for line in quantized.float_fallback)
    for got in on_both(quantized, samples()[0]):
        assert not got[0, 2].any()


def test_a_bound_of_minus_infinity_bounds_nothing() -> None:
    net = Net()
    y = net.op("MatMul", net.input("x", (1, LENGTH, 8)), net.constant(weight(1)))
    y = net.op("Max", y, net.constant(np.float32(-np.inf)))
    net.output(net.op("MatMul", y, net.constant(weight(2))))
    # Two matrices in a row, with the rounding of three activations.
    assert min(decibels(as_model(net.proto()))) > 30


def test_a_maximum_over_what_is_not_masked_keeps_its_steps() -> None:
    net = Net()
    y = net.op("MatMul", net.input("x", (1, LENGTH, 8)), net.constant(weight(1)))
    aside = net.op(
        "Unsqueeze", net.op("Squeeze", padding(net), net.constant([1])), net.constant([2])
    )
    y = net.op("Where", aside, net.constant(np.float32(LOWEST)), y)
    y = net.op("ReduceMax", y, net.constant([1]), keepdims=0)
    net.output(net.op("MatMul", y, net.constant(weight(2))))
    assert min(decibels(as_model(net.proto()))) > 30


def test_values_that_no_scale_covers_stay_in_float() -> None:
    net = Net()
    y = net.op("MatMul", net.input("x", (1, LENGTH, 8)), net.constant(weight(1)))
    far = net.op("Add", y, net.constant(np.float32(-3e38)))
    net.output(net.op("Neg", far), net.op("MatMul", y, net.constant(weight(2))))
    model = as_model(net.proto())
    quantized = quantize(model, samples())
    assert any("(Neg)" in line for line in quantized.float_fallback)
    batch = samples()[0]
    expected = run_onnx(ir.to_proto(model), batch)
    lowered = run_tflite(lower(quantized.model).data, batch)
    for got in (run_onnx(ir.to_proto(quantized.model), batch), lowered):
        for name, array in expected.items():
            np.testing.assert_allclose(got[name], array, atol=0.05 * np.abs(array).max())


def test_an_infinity_that_means_something_is_refused() -> None:
    net = Net()
    y = net.op("MatMul", net.input("x", (1, LENGTH, 8)), net.constant(weight(1)))
    y = net.op("Add", y, net.constant(np.float32(-np.inf)))
    net.output(net.op("Abs", y))
    with pytest.raises(DataError, match="NaN or infinite"):
        quantize(as_model(net.proto()), samples())


RANGES = st.tuples(st.floats(-9, 0), st.floats(0.1, 9)).map(lambda ends: Range(*ends))


@given(
    st.sampled_from([("Add", 0), ("Add", 1), ("Sub", 0), ("Sub", 1), ("Max", 0), ("Min", 1)]),
    RANGES,
    RANGES,
    st.floats(-40, 40),
    st.floats(0, 1),
)
def test_beyond_its_need_an_operand_changes_nothing(
    place: tuple[str, int], result: Range, other: Range, x: float, share: float
) -> None:
    op_type, index = place
    y = other.low + share * (other.high - other.low)
    need = operand_need(ir.node(op_type, []), index, result, other)

    def stored(operand: float) -> float:
        a, b = (operand, y) if index == 0 else (y, operand)
        exact = {"Add": a + b, "Sub": a - b, "Max": max(a, b), "Min": min(a, b)}[op_type]
        return float(np.clip(exact, result.low, result.high))

    cut = float(np.clip(x, need.low, need.high))
    assert stored(cut) == pytest.approx(stored(x), abs=1e-9)
