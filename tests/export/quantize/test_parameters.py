"""Scales and zero points hold what the specification promises, for every range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.export.quantize.parameters import (
    Range,
    activation_parameters,
    bias_scale,
    quantize_bias,
    weight_parameters,
)

reals = st.floats(-1e6, 1e6, allow_nan=False, width=32)


@given(reals, reals)
def test_the_range_is_covered_and_zero_is_exact(a: float, b: float) -> None:
    observed = Range(min(a, b), max(a, b))
    parameters = activation_parameters(observed)
    assert -128 <= parameters.zero_point <= 127
    assert parameters.scale > 0
    # Half a step, because the zero point is an integer; a millionth for float32.
    slack = parameters.scale * (0.5 + 1e-4)
    assert parameters.range.low <= min(observed.low, 0) + slack
    assert parameters.range.high >= max(observed.high, 0) - slack
    assert parameters.quantize(np.zeros(1), np.int8)[0] == parameters.zero_point


@given(reals, reals, st.lists(reals, min_size=1, max_size=20))
def test_int8_and_uint8_are_the_same_integers_shifted(a: float, b: float, x: list[float]) -> None:
    parameters = activation_parameters(Range(min(a, b), max(a, b)))
    values = np.array(x, np.float32)
    signed = parameters.quantize(values, np.int8).astype(int)
    unsigned = parameters.quantize(values, np.uint8).astype(int)
    assert np.array_equal(signed + 128, unsigned)
    assert int(parameters.stored_zero_point(np.uint8)) == parameters.zero_point + 128


@given(st.floats(0, 1e6, width=32))
def test_a_range_from_zero_saturates_at_zero(high: float) -> None:
    assert activation_parameters(Range(0.0, high)).zero_point == -128


@pytest.mark.parametrize("observed", [Range(0, 0), Range(3, 5), Range(-5, -3), Range(1e-30, 2e-30)])
def test_ranges_without_zero_or_without_width(observed: Range) -> None:
    parameters = activation_parameters(observed)
    assert np.isfinite(np.float32(1 / parameters.scale))
    real = parameters.scale * (
        int(parameters.quantize(np.array([observed.high]), np.int8)[0]) - parameters.zero_point
    )
    assert abs(real - observed.high) <= parameters.scale


@given(st.integers(0, 2**32 - 1), st.floats(-6, 3))
def test_weights_are_within_half_a_step(seed: int, exponent: float) -> None:
    rng = np.random.default_rng(seed)
    weight = (rng.standard_normal((4, 3, 3, 3)) * 10**exponent).astype(np.float32)
    parameters = weight_parameters(weight, 0, None, 0.02)
    integers = parameters.quantize(weight)
    assert np.abs(integers.astype(int)).max() == 127
    error = np.abs(integers * parameters.scale.reshape(-1, 1, 1, 1) - weight)
    # Half a step, and float32's rounding of a product of 127 steps.
    assert (error <= parameters.scale.reshape(-1, 1, 1, 1) * (0.5 + 1e-4)).all()


def test_a_dead_channel_and_a_tiny_one_keep_their_bias() -> None:
    weight = np.ones((3, 2), np.float32)
    weight[0] = 0
    weight[1] = 1e-20
    bias = np.array([5.0, -3.0, 0.25], np.float32)
    parameters = weight_parameters(weight, 0, bias, input_scale=0.01)
    scale = bias_scale(0.01, parameters.scale, len(bias))
    assert np.allclose(quantize_bias(bias, scale) * scale.astype(np.float64), bias, rtol=1e-4)
    assert np.isfinite(parameters.scale).all()
    assert (parameters.scale > 0).all()


def test_no_accumulator_step_is_larger_than_the_outputs_range() -> None:
    """XNNPACK creates no convolution whose accumulator steps by 256 output steps."""
    weight = np.array([[1e-3], [1e3]], np.float32)
    parameters = weight_parameters(weight, 0, None, input_scale=10.0, output_scale=0.1)
    ratio = 10.0 * parameters.scale / 0.1
    assert ratio[0] == pytest.approx(100 * 1e-3 / 127, rel=1e-5)
    assert ratio[1] < 256
    assert parameters.quantize(weight)[1] == 127


def test_a_value_that_is_always_zero_has_a_plain_scale() -> None:
    parameters = activation_parameters(Range(0.0, 0.0))
    assert parameters.scale == pytest.approx(1 / 255)
    assert parameters.range.low == 0
