"""One rule for the signal-to-quantization-noise ratio, whoever asks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeconv.metrics import EQUAL_DB, Spread, Sqnr, sqnr_db, stacked, worst_db

ONE = np.ones(4)


@pytest.mark.parametrize("signal", [ONE, 0 * ONE], ids=["signal", "no signal"])
def test_no_noise_is_equal(signal: np.ndarray) -> None:
    assert sqnr_db(signal, signal.copy()) == EQUAL_DB


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_leaves_nothing(wrong: float) -> None:
    assert sqnr_db(ONE, np.where(np.arange(4) == 2, wrong, ONE)) == -EQUAL_DB


def test_noise_without_a_signal_leaves_nothing() -> None:
    assert sqnr_db(0 * ONE, ONE) == -EQUAL_DB


def test_ratios_are_limited() -> None:
    assert sqnr_db(ONE, ONE + 1e-15) == EQUAL_DB
    assert sqnr_db(1e-15 * ONE, ONE) == -EQUAL_DB


def test_a_tenth_of_the_amplitude_is_20_db() -> None:
    assert sqnr_db(ONE, 1.1 * ONE) == pytest.approx(20)
    assert sqnr_db((10 * ONE).astype(np.int8), (11 * ONE).astype(np.int8)) == pytest.approx(20)


@given(arrays(np.float32, 8, elements=st.floats(-1e3, 1e3, width=32)), st.floats(0.125, 8))
def test_the_ratio_does_not_depend_on_scale(x: np.ndarray, factor: float) -> None:
    y = x + np.float32(0.5)
    expected = sqnr_db(x.astype(np.float64), y.astype(np.float64))
    assert sqnr_db(x.astype(np.float64) * factor, y.astype(np.float64) * factor) == pytest.approx(
        expected, abs=1e-6
    )


@given(arrays(np.float32, (2, 8), elements=st.floats(-1e3, 1e3, width=32)), st.integers(1, 7))
def test_parts_add_up_to_the_whole(both: np.ndarray, cut: int) -> None:
    expected, got = both
    parts = Sqnr.between(expected[:cut], got[:cut]) + Sqnr.between(expected[cut:], got[cut:])
    assert parts.db == pytest.approx(sqnr_db(expected, got), abs=1e-9)


def test_the_worst_output_counts_over_all_batches() -> None:
    # The second output has noise in one of two batches only, which halves it: 3 dB more.
    batches = [([ONE, ONE], [ONE, 1.1 * ONE]), ([ONE, ONE], [ONE, ONE])]
    assert worst_db(batches) == pytest.approx(20 + 10 * np.log10(2))
    assert worst_db([]) == EQUAL_DB


def test_only_numpy_is_imported() -> None:
    heavy = "{'torch', 'onnx', 'onnx_ir', 'onnxruntime', 'pydantic'}"
    code = f"import sys, edgeconv.metrics; print({heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_a_constant_is_no_signal_of_the_variation() -> None:
    """Temperatures of 293 ± 0.3 K, off by 0.1 K: 69 dB with their mean, 10 dB without."""
    rng = np.random.default_rng(0)
    expected = [[np.array([293 + 0.3 * rng.standard_normal()])] for _ in range(400)]
    got = [[output + 0.1 for output in sample] for sample in expected]
    spread = Spread.over(expected, got)
    assert spread is not None
    assert spread.median_db == pytest.approx(20 * np.log10(2930), abs=0.1)
    assert spread.variation_db == pytest.approx(20 * np.log10(3), abs=0.5)


def test_the_spread_has_the_median_and_the_worst_sample_of_the_worst_output() -> None:
    expected = [[ONE, 10 * ONE]] * 5
    got = [[ONE * (1 + error), 10 * ONE] for error in (1e-1, 1e-2, 1e-3, 1e-2, 1e-4)]
    spread = Spread.over(expected, got)
    assert spread is not None
    assert spread.median_db == pytest.approx(40)
    assert spread.worst_db == pytest.approx(20)
    assert spread.variation_db is None  # the network's outputs do not depend on its input


def test_an_output_that_is_always_the_same_has_no_variation_to_lose() -> None:
    rng = np.random.default_rng(0)
    varying = [rng.standard_normal(100) for _ in range(20)]
    spread = Spread.over([[x, ONE] for x in varying], [[1.1 * x, 1.1 * ONE] for x in varying])
    assert spread is not None
    assert spread.variation_db == pytest.approx(20, abs=0.5)


def test_one_sample_has_no_variation_and_integers_no_ratio() -> None:
    spread = Spread.over([[ONE, np.arange(4)]], [[1.1 * ONE, np.arange(4)]])
    assert spread == Spread(pytest.approx(20), pytest.approx(20), None)
    assert Spread.over([[np.arange(4)]], [[np.arange(4)]]) is None


def test_arrays_of_several_sizes_are_stacked() -> None:
    scalars = stacked([np.float32(1).reshape(()), np.float32(2).reshape(())])
    assert scalars.tolist() == [1, 2]
    rows = stacked([np.ones((2, 1), np.int64), np.ones((1, 3), np.int64)])
    assert rows.tolist() == [[[1, 0, 0], [1, 0, 0]], [[1, 1, 1], [0, 0, 0]]]
