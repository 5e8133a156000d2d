"""Histograms do not depend on order; each method finds the range that its measure wants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.export.quantize.calibration.ranges import CLIPPING, choose_range
from edgeconv.export.quantize.calibration.ranges.histogram import BINS, Histogram, count, merge
from edgeconv.export.quantize.calibration.ranges.mse import _clipping, _errors, mse
from edgeconv.export.quantize.parameters import Range, activation_parameters
from edgeconv.export.quantize_options import RangeMethod

METHODS = [method for method in RangeMethod if method is not RangeMethod.AUTO]
# Normal float32 values and zero, of magnitudes that activations have.
reals = st.one_of(
    st.just(0.0),
    st.floats(2.0**-30, 2.0**23, width=32),
    st.floats(-(2.0**23), -(2.0**-30), width=32),
)
arrays = st.lists(reals, min_size=1, max_size=60).map(lambda x: np.array(x, np.float32))


def histogram(values: np.ndarray, weight: int = 1) -> Histogram:
    return Histogram(float(values.min()), float(values.max()), weight, count(values))


def quantization_error(values: np.ndarray, chosen: Range) -> float:
    """Mean squared error of 8 bits over the range."""
    parameters = activation_parameters(chosen)
    integers = parameters.quantize(values, np.int8).astype(np.float64)
    return float(np.mean((values - parameters.scale * (integers - parameters.zero_point)) ** 2))


@given(arrays)
def test_every_value_is_counted_once(values: np.ndarray) -> None:
    counts = count(values)
    assert counts.shape == (BINS,)
    assert counts.sum() == len(values)


def test_every_float32_has_the_bin_of_its_sign_exponent_and_six_bits() -> None:
    upper = np.arange(1 << 15, dtype=np.uint32) << np.uint32(17)
    values = upper.view(np.float32)
    values = values[np.isfinite(values)]
    for value in (*values[::7], *(values[::11] * np.float32(1 + 2**-7))):  # within a bin, too
        fraction, exponent = np.frexp(np.abs(np.float64(value)))
        magnitude = (int(exponent) + 39) * 64 + int((2 * fraction - 1) * 64) + 1
        magnitude = min(magnitude, BINS // 2 - 1) if abs(value) >= 2.0**-40 else 0
        (found,) = np.flatnonzero(count(np.array([value], np.float32)))
        assert found == magnitude + (BINS // 2 if np.signbit(value) else 0)


@given(arrays, st.randoms(use_true_random=False), st.integers(0, 60))
def test_counts_depend_on_no_order_and_no_grouping(
    values: np.ndarray, random: object, cut: int
) -> None:
    shuffled = values.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    together = count(values)
    assert np.array_equal(together, count(shuffled))
    cut = min(cut, len(values))
    assert np.array_equal(together, count(shuffled[:cut]) + count(shuffled[cut:]))


@given(arrays)
def test_pieces_hold_the_values_in_order(values: np.ndarray) -> None:
    distribution = merge([histogram(values)])
    assert (distribution.low <= distribution.high).all()
    assert (distribution.high[:-1] <= distribution.low[1:]).all()
    assert distribution.low[0] >= distribution.minimum == values.min()
    assert distribution.high[-1] <= distribution.maximum == values.max()
    for low, high, mass in zip(distribution.low, distribution.high, distribution.mass, strict=True):
        assert np.count_nonzero((values >= low) & (values <= high)) >= mass


@given(arrays, arrays, st.integers(1, 20))
def test_merging_adds_weighted_masses(a: np.ndarray, b: np.ndarray, weight: int) -> None:
    distribution = merge([histogram(a, weight), histogram(b)])
    assert distribution.mass.sum() == len(a) * weight + len(b)
    assert distribution.minimum == min(a.min(), b.min())
    assert distribution.maximum == max(a.max(), b.max())


@given(arrays)
def test_moments_are_those_of_the_values(values: np.ndarray) -> None:
    distribution = merge([histogram(values)])
    mass, first, second = distribution.moments(np.array([np.inf]))[:, 0]
    exact = values.astype(np.float64)
    assert mass == len(values)
    # A bin is at most 1/64 wide, and its values may all lie at one end.
    assert abs(first - exact.sum()) <= np.abs(exact).sum() / 64
    assert abs(second - np.square(exact).sum()) <= np.square(exact).sum() / 31


@given(arrays)
def test_quantiles_invert_the_cumulative_mass(values: np.ndarray) -> None:
    distribution = merge([histogram(values)])
    for share in (0.001, 0.25, 0.5, 0.9, 0.999):
        below = np.count_nonzero(values < distribution.quantile(share) * (1 + 2**-6))
        exact = np.quantile(values, share, method="inverted_cdf")
        assert np.isclose(distribution.quantile(share), exact, rtol=1 / 60), below


@pytest.mark.parametrize("method", METHODS)
@given(values=arrays)
@settings(max_examples=25)
def test_ranges_lie_within_the_extremes(method: RangeMethod, values: np.ndarray) -> None:
    chosen = choose_range(method, [histogram(values)])
    assert min(float(values.min()), 0.0) <= chosen.low <= chosen.high
    assert chosen.high <= max(float(values.max()), 0.0)
    assert activation_parameters(chosen).quantize(np.zeros(1), np.int8)[0] == (
        activation_parameters(chosen).zero_point
    )


def test_minmax_needs_no_counts() -> None:
    nothing = np.zeros(0, np.int64)
    observed = [Histogram(-1.0, 2.0, 1, nothing), Histogram(0.0, 5.0, 1, nothing)]
    assert choose_range(RangeMethod.MINMAX, observed) == Range(-1.0, 5.0)


def heavy_tail(rng: np.random.Generator) -> np.ndarray:
    values = rng.standard_normal(200_000)
    values[:5] = [60, -55, 48, 70, 65]
    return values.astype(np.float32)


def after_relu(rng: np.random.Generator) -> np.ndarray:
    values = np.maximum(rng.standard_normal(200_000), 0)
    values[:5] = [60, 55, 48, 70, 65]
    return values.astype(np.float32)


@pytest.mark.parametrize("method", [RangeMethod.PERCENTILE, RangeMethod.ENTROPY])
@pytest.mark.parametrize("draw", [heavy_tail, after_relu])
def test_outliers_are_clipped(
    method: RangeMethod, draw: Callable[[np.random.Generator], np.ndarray]
) -> None:
    values = draw(np.random.default_rng(0))
    whole = choose_range(RangeMethod.MINMAX, [histogram(values)])
    chosen = choose_range(method, [histogram(values)])
    assert chosen.high < whole.high / 2
    assert chosen.low >= whole.low
    bulk = values[np.abs(values) < 10]
    # Twice the resolution is a quarter of the error, wherever the values are rounded.
    assert quantization_error(bulk, chosen) < quantization_error(bulk, whole) / 4


def test_mse_weighs_clipping_against_rounding() -> None:
    values = np.random.default_rng(0).standard_t(4, 200_000).astype(np.float32)
    errors = {
        method: quantization_error(values, choose_range(method, [histogram(values)]))
        for method in METHODS
    }
    assert errors[RangeMethod.MSE] == min(errors.values())
    assert errors[RangeMethod.MSE] < errors[RangeMethod.MINMAX] * 0.75


def test_ends_are_clipped_each_on_its_own() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(200_000) < 0.5, rng.uniform(-1, 0), rng.standard_t(4, 200_000))
    values = np.maximum(values, -1).astype(np.float32)
    for method in (RangeMethod.PERCENTILE, RangeMethod.MSE):
        chosen = choose_range(method, [histogram(values)])
        assert chosen.low < -0.95, method
        assert chosen.high < values.max() * 0.9, method


@pytest.mark.parametrize("method", CLIPPING)
def test_a_flat_distribution_is_hardly_clipped(method: RangeMethod) -> None:
    values = np.random.default_rng(0).uniform(-1, 3, 200_000).astype(np.float32)
    chosen = choose_range(method, [histogram(values)])
    assert chosen.low < -0.95
    assert chosen.high > 2.85


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.standard_normal(100_000),
        lambda rng: rng.laplace(size=100_000),
        lambda rng: rng.standard_t(3, size=100_000),
        lambda rng: np.maximum(rng.laplace(size=100_000), 0),
        lambda rng: rng.exponential(size=100_000) - 0.2,
    ],
)
def test_mse_is_within_two_percent_of_the_best_clipping(
    draw: Callable[[np.random.Generator], np.ndarray],
) -> None:
    values = draw(np.random.default_rng(1)).astype(np.float32)
    low, high = min(float(values.min()), 0), max(float(values.max()), 0)
    best = min(
        quantization_error(values, Range(low * a, high * b))
        for a in np.linspace(0.05, 1, 40)
        for b in np.linspace(0.05, 1, 40)
    )
    for scale in (1e-4, 1.0, 3e3):
        scaled = values * np.float32(scale)
        chosen = choose_range(RangeMethod.MSE, [histogram(scaled)])
        # Candidates are 4 % apart, where the error is flat; it is in the square of the unit.
        assert quantization_error(scaled, chosen) <= best * scale**2 * 1.02


@pytest.mark.parametrize(
    ("method", "share"), [(RangeMethod.PERCENTILE, 1e-4), (RangeMethod.WIDE_PERCENTILE, 3e-5)]
)
def test_percentile_is_the_percentile(method: RangeMethod, share: float) -> None:
    values = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
    chosen = choose_range(method, [histogram(values)])
    # Bins are 1/64 wide.
    assert np.isclose(chosen.high, np.quantile(values, 1 - share), rtol=1 / 64)
    assert np.isclose(chosen.low, np.quantile(values, share), rtol=1 / 64)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 3.0, -2.5, 1e-30, 1e30])
def test_constants(method: RangeMethod, value: float) -> None:
    chosen = choose_range(method, [histogram(np.full(100, value, np.float32))])
    parameters = activation_parameters(chosen)
    got = parameters.quantize(np.full(1, value), np.int8).astype(int) - parameters.zero_point
    assert abs(float(got[0]) * parameters.scale - value) <= max(parameters.scale, abs(value) / 25)


@settings(max_examples=30)
@given(arrays)
def test_the_mse_range_is_the_best_of_all_candidates(values: np.ndarray) -> None:
    distribution = merge([histogram(values)]).without_zero()
    if not len(distribution.mass):  # nothing but zeros has no candidates
        return
    lows, highs = (
        end * 0.96 ** np.arange(140.0) if end else np.zeros(1)
        for end in (min(distribution.minimum, 0.0), max(distribution.maximum, 0.0))
    )
    clipping = _clipping(distribution, lows, highs)
    errors = _errors(distribution, lows, highs, clipping, np.ones(clipping.shape, bool))
    low, high = np.unravel_index(int(np.argmin(errors)), clipping.shape)
    assert mse(distribution) == Range(float(lows[low]), float(highs[high]))
