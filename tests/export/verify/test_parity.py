"""Verification passes what is right and catches what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from edgeconv.bundle import Precision
from edgeconv.export.verify.parity import Quantized, Reference, compare, failure

RNG = np.random.default_rng(0)
OUTPUTS = [[RNG.standard_normal((1, 10)).astype(np.float32)] for _ in range(20)]
REFERENCE = Reference("pytorch", [()] * 20, OUTPUTS, {Precision.INT8: Quantized((0.01,))})


def moved(amount: float, every: int = 1) -> list[list[np.ndarray]]:
    """OUTPUTS with every nth element moved."""
    result = []
    for (array,) in OUTPUTS:
        changed = array.copy()
        changed.reshape(-1)[::every] += np.float32(amount)
        result.append([changed])
    return result


def test_equal_outputs() -> None:
    figures = compare(OUTPUTS, REFERENCE, Precision.FLOAT32, "r")
    assert figures.passed
    assert (figures.max_error, figures.sqnr_db, figures.argmax_agreement) == (0.0, 200.0, 1.0)


@pytest.mark.parametrize(("amount", "passed"), [(1e-4, True), (1e-3, False)])
def test_float_limit_is_relative_to_the_range(amount: float, passed: bool) -> None:
    # The reference spans about 6, so 1e-4 is 2e-5 of it and 1e-3 is 2e-4.
    assert compare(moved(amount), REFERENCE, Precision.FLOAT32, "r").passed is passed


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("precision", list(Precision))
def test_values_that_are_no_numbers_fail(bad: float, precision: Precision) -> None:
    figures = compare(moved(bad, every=7), REFERENCE, precision, "r")
    assert not figures.passed
    assert figures.model_dump_json()  # and JSON can still say it


def test_int8_formats_within_one_step() -> None:
    other = moved(0.05)
    one_step = [[array + np.float32(0.01)] for (array,) in other]
    figures = compare(one_step, REFERENCE, Precision.INT8, "r", other)
    assert figures.passed
    assert figures.within_one_step_of_other_format == 1.0


def test_int8_formats_that_disagree() -> None:
    figures = compare(moved(0.05), REFERENCE, Precision.INT8, "r", moved(-0.05))
    assert not figures.passed
    assert "disagree" in str(failure("f", Precision.INT8, figures, "pytorch"))


def test_a_small_difference_beside_a_large_error_is_agreement() -> None:
    # Two steps apart everywhere, but both fifty steps from the float network.
    figures = compare(moved(0.52), REFERENCE, Precision.INT8, "r", moved(0.5))
    assert figures.within_one_step_of_other_format == 0.0
    assert figures.passed


def test_maps_have_no_argmax() -> None:
    outputs = [[RNG.standard_normal((1, 3, 4, 4))] for _ in range(3)]
    reference = Reference("pytorch", [()] * 3, outputs)
    assert compare(outputs, reference, Precision.FLOAT32, "r").argmax_agreement is None


def test_float_outputs_have_no_steps_to_count() -> None:
    reference = Reference(
        "pytorch", REFERENCE.inputs, OUTPUTS, {Precision.INT8: Quantized((None,))}
    )
    figures = compare(moved(0.52), reference, Precision.INT8, "r", moved(0.5))
    assert figures.within_one_step_of_other_format is None
    assert figures.passed
    apart = compare(moved(0.5), reference, Precision.INT8, "r", moved(-0.5))
    assert not apart.passed
    assert "disagree" in str(failure("f", Precision.INT8, apart, "pytorch"))


def test_half_precision_has_a_limit_of_its_own() -> None:
    # The reference spans about 6: 0.05 is nearly 1 % of that, 0.2 more than 3 %.
    assert compare(moved(0.05), REFERENCE, Precision.FLOAT16, "r").passed
    apart = compare(moved(0.2), REFERENCE, Precision.FLOAT16, "r")
    assert not apart.passed
    assert "--precision float32" in str(failure("f", Precision.FLOAT16, apart, "pytorch"))


@pytest.mark.parametrize(("second", "passed"), [(0.5, True), (-0.5, True), (3.0, False)])
def test_dynamic_formats_may_err_in_two_ways_but_not_by_far(second: float, passed: bool) -> None:
    floats = {Precision.INT8_DYNAMIC: Quantized((None,))}
    reference = Reference("pytorch", REFERENCE.inputs, OUTPUTS, floats)
    figures = compare(
        moved(0.5, every=2), reference, Precision.INT8_DYNAMIC, "r", moved(second, every=3)
    )
    assert figures.passed is passed
    assert figures.within_one_step_of_other_format is None


@pytest.mark.parametrize(("amount", "passed"), [(0.05, True), (0.5, False)])
def test_a_network_that_arrived_quantized_is_its_own_reference(amount: float, passed: bool) -> None:
    reference = Reference(
        "onnxruntime",
        REFERENCE.inputs,
        OUTPUTS,
        {Precision.INT8: Quantized((0.01,), OUTPUTS)},
        prequantized=True,
    )
    assert compare(OUTPUTS, reference, Precision.INT8, "r").passed
    assert compare(moved(amount), reference, Precision.INT8, "r").passed is passed
