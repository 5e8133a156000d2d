"""Verification passes what is right and catches what is wrong."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.bundle import Artifact, Format, Precision
from edgeconv.export.joined import Parts
from edgeconv.export.verify.expected import Allowances, Quantized, Reference
from edgeconv.export.verify.failure import failure
from edgeconv.export.verify.kept import Tolerance, keeps_enough
from edgeconv.export.verify.parity import compare
from edgeconv.verification import OperatorFigures
from support.manifests import made_artifact

RNG = np.random.default_rng(0)
OUTPUTS = [[RNG.standard_normal((1, 10)).astype(np.float32)] for _ in range(20)]
REFERENCE = Reference("pytorch", [()] * 20, OUTPUTS, {Precision.INT8: Quantized((0.01,))})


def artifact(precision: Precision) -> Artifact:
    return made_artifact("f", Format.ONNX, precision)


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


def test_int8_within_one_step_of_exact_arithmetic() -> None:
    exact = moved(0.05)
    one_step = [[array + np.float32(0.01)] for (array,) in exact]
    figures = compare(one_step, REFERENCE, Precision.INT8, "r", exact)
    assert figures.passed
    assert figures.within_one_step_of_other_format == 1.0


def test_two_files_that_keep_as_much_are_right_however_far_apart() -> None:
    """A deep network amplifies single roundings until two right files share no error."""
    figures = compare(moved(0.05), REFERENCE, Precision.INT8, "r", moved(-0.05))
    assert figures.within_one_step_of_other_format == 0.0
    assert figures.sqnr_db_to_other_format is not None
    assert figures.sqnr_db_to_other_format < figures.sqnr_db
    assert figures.passed


@pytest.mark.parametrize("steps", [(0.01,), (None,)])
def test_a_file_that_keeps_less_than_its_integers_should(steps: tuple[float | None]) -> None:
    """0.2 for 0.05 costs 12 dB on every sample."""
    quantized = {Precision.INT8: Quantized(steps, moved(0.05))}
    reference = Reference("pytorch", REFERENCE.inputs, OUTPUTS, quantized)
    figures = compare(moved(0.2), reference, Precision.INT8, "r")
    assert not figures.passed
    assert figures.exact_sqnr_db == pytest.approx(figures.sqnr_db + 12.04, abs=0.01)
    message = str(failure(artifact(Precision.INT8), figures, reference.runtime, reference))
    assert f"should keep {figures.exact_sqnr_db:.1f} dB" in message
    assert "--no-verify" not in message  # an option of export, not of verify


def test_an_operator_that_is_off_is_the_error_and_named() -> None:
    bad = OperatorFigures(checked=9, largest_steps=7.0, largest_at="c (Conv)", failed=("c (Conv)",))
    quantized = {Precision.INT8: Quantized((0.01,), moved(0.05), {Format.ONNX: bad})}
    reference = Reference("pytorch", REFERENCE.inputs, OUTPUTS, quantized)
    figures = compare(moved(0.05), reference, Precision.INT8, "r", format=Format.ONNX)
    assert not figures.passed
    assert "c (Conv) is up to 7 steps off" in str(
        failure(artifact(Precision.INT8), figures, reference.runtime, reference)
    )
    assert compare(moved(0.05), reference, Precision.INT8, "r", format=Format.TFLITE).passed


@pytest.mark.parametrize("right", [1.0, 0.5])
def test_indices_are_right_or_wrong(right: float) -> None:
    """Half of the indices wrong is noise of half the signal: 3 dB."""
    indices = [[RNG.integers(0, 10, (1, 40))] for _ in range(20)]
    got = [[np.where(np.arange(40) < 40 * right, array, array + 1)] for (array,) in indices]
    quantized = {Precision.INT8: Quantized((None,), indices)}
    reference = Reference("pytorch", REFERENCE.inputs, indices, quantized)
    figures = compare(got, reference, Precision.INT8, "r")
    assert figures.passed is (right == 1.0)
    assert figures.max_error == 1 - right
    assert figures.sqnr_db == pytest.approx(200.0 if right == 1.0 else 3.0, abs=0.02)


@given(seed=st.integers(0, 2**32 - 1), samples=st.integers(1, 32))
def test_chance_is_not_taken_for_a_loss(seed: int, samples: int) -> None:
    """Two files with independent errors of one size; their ratios vary by about a dB per sample."""
    rng = np.random.default_rng(seed)
    reference = [[rng.standard_normal((1, 32))] for _ in range(samples)]
    exact, got = (
        [[array + 0.1 * rng.standard_normal(array.shape)] for (array,) in reference]
        for _ in range(2)
    )
    assert keeps_enough(reference, exact, got, (None,), Tolerance.FIXED_SCALES)


def test_the_worst_output_is_named() -> None:
    outputs = [[array, array] for (array,) in OUTPUTS]
    got = [[array, array + np.float32(0.5)] for (array,) in OUTPUTS]
    reference = Reference("pytorch", [()] * 20, outputs, {Precision.INT8: Quantized((None, None))})
    figures = compare(got, reference, Precision.INT8, "r", outputs, names=("boxes", "scores"))
    assert figures.worst_output == "scores"


def test_a_part_of_an_output_is_a_place_of_its_own() -> None:
    """Scores of a thousandth beside pixels: the whole has 60 dB, the scores nothing."""
    labels = np.array([[0] * 6 + [1] * 4])
    scale = np.where(labels == 0, 1000, 1).astype(np.float32)
    outputs = [[array * scale] for (array,) in OUTPUTS]
    got = [[np.where(labels == 0, array, 0).astype(np.float32)] for (array,) in outputs]
    parts = [Parts(("boxes", "scores"), labels)]
    quantized = {Precision.INT8: Quantized((8.0,), got)}
    reference = Reference("pytorch", [()] * 20, outputs, quantized, joined=parts)
    figures = compare(got, reference, Precision.INT8, "r", names=("rows",))
    assert [(place.output, place.part) for place in figures.places] == [
        ("rows", None),
        ("rows", "boxes"),
        ("rows", "scores"),
    ]
    assert figures.places[0].sqnr_db > 55
    assert [place.sqnr_db for place in figures.places[1:]] == [200.0, 0.0]
    assert figures.sqnr_db == 0.0
    assert figures.keeps_nothing
    assert not figures.passed
    message = str(failure(artifact(Precision.INT8), figures, reference.runtime, reference))
    assert "keeps nothing of the part 'scores' of the output 'rows': SQNR 0.0 dB" in message


def test_values_that_fade_below_the_least_range_are_named_as_the_cause() -> None:
    faded = [[array * 1e-16] for (array,) in OUTPUTS]
    zeros = [[np.zeros_like(array)] for (array,) in OUTPUTS]
    quantized = {Precision.INT8: Quantized((None,), zeros)}
    reference = Reference("pytorch", [()] * 20, faded, quantized)
    figures = compare(zeros, reference, Precision.INT8, "r")
    assert figures.keeps_nothing
    error = failure(artifact(Precision.INT8), figures, reference.runtime, reference)
    assert "int8 has no range below 1e-06" in error.message
    assert "trained weights" in error.hint


def test_an_argmax_by_chance_keeps_nothing() -> None:
    """Noise of half the signal, whose largest element is never where it should be."""
    got = [[array.copy()] for (array,) in OUTPUTS]
    for (ours,), (theirs,) in zip(got, OUTPUTS, strict=True):
        ours[0, theirs.argmax()] = 0
    quantized = {Precision.INT8: Quantized((None,), got)}
    reference = Reference("pytorch", [()] * 20, OUTPUTS, quantized)
    figures = compare(got, reference, Precision.INT8, "r")
    assert (figures.argmax_agreement, figures.keeps_nothing) == (0.0, True)
    assert figures.sqnr_db > 0
    message = str(failure(artifact(Precision.INT8), figures, reference.runtime, reference))
    assert "0% of the same argmax, as by chance" in message


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_an_argmax_by_chance_is_no_fault_where_the_network_amplifies(noise: float) -> None:
    got = [[array.copy()] for (array,) in OUTPUTS]
    for (ours,), (theirs,) in zip(got, OUTPUTS, strict=True):
        ours[0, theirs.argmax()] = 0
    quantized = {Precision.INT8: Quantized((None,), got)}
    reference = Reference(
        "pytorch",
        [(np.full(1, index / 20, np.float32),) for index in range(20)],
        OUTPUTS,
        quantized,
        run=lambda sample: [(1 + noise) * OUTPUTS[round(20 * float(sample[0][0]))][0]],
    )
    figures = compare(got, reference, Precision.INT8, "r", names=("y",))
    assert figures.keeps_nothing is (noise == 0)
    assert figures.passed is (noise > 0)
    if noise:
        itself = figures.rounded_inputs_sqnr_db
        assert itself == pytest.approx(-20 * np.log10(noise), abs=0.01)
        stored = replace(reference, run=None, rounded_inputs_db=itself)
        assert compare(got, stored, Precision.INT8, "r", names=("y",)).passed


def test_an_output_of_zeros_has_nothing_to_keep() -> None:
    zeros = [[np.zeros((1, 10), np.float32)] for _ in range(20)]
    quantized = {Precision.INT8: Quantized((0.01,), zeros)}
    reference = Reference("pytorch", [()] * 20, zeros, quantized)
    assert compare(moved(0.0), reference, Precision.INT8, "r").keeps_nothing is False


def test_labels_agree_where_they_are_equal() -> None:
    labels = [[np.array([index % 7])] for index in range(20)]
    got = [[np.array([index % 7 if index else 3])] for index in range(20)]
    reference = Reference("pytorch", [()] * 20, labels)
    assert compare(got, reference, Precision.INT8_DYNAMIC, "r").argmax_agreement == 0.95


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


def test_half_precision_has_a_limit_of_its_own() -> None:
    # The reference spans about 6: 0.05 is nearly 1 % of that, 0.2 more than 3 %.
    assert compare(moved(0.05), REFERENCE, Precision.FLOAT16, "r").passed
    apart = compare(moved(0.2), REFERENCE, Precision.FLOAT16, "r")
    assert not apart.passed
    assert 'precisions=["float32"]' in str(
        failure(artifact(Precision.FLOAT16), apart, REFERENCE.runtime, REFERENCE)
    )


@pytest.mark.parametrize(("second", "passed"), [(0.5, True), (-0.5, True), (3.0, False)])
def test_dynamic_formats_may_err_in_two_ways_but_not_by_far(second: float, passed: bool) -> None:
    floats = {Precision.INT8_DYNAMIC: Quantized((None,))}
    reference = Reference("pytorch", REFERENCE.inputs, OUTPUTS, floats)
    figures = compare(
        moved(second, every=3), reference, Precision.INT8_DYNAMIC, "r", moved(0.5, every=2)
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


def _float_files_pass(allowed: dict[str, float], asked: list[str]) -> bool:
    """Judge a float32 file that is 1e-3 off, by allowances that are computed in several ways."""

    def way(name: str) -> np.ndarray:
        asked.append(name)
        return np.full((20, 1), allowed[name])

    allowances = Allowances(*(partial(way, name) for name in allowed))
    reference = Reference("pytorch", REFERENCE.inputs, OUTPUTS, allowances=allowances)
    first, second = (compare(moved(1e-3), reference, Precision.FLOAT32, "r") for _ in range(2))
    assert first == second  # the second file computes nothing again
    return first.passed


def test_a_file_that_a_quick_way_allows_asks_no_slower_one() -> None:
    asked: list[str] = []
    assert _float_files_pass({"quick": 2e-3, "slow": 1.0}, asked)
    assert asked == ["quick"]


def test_a_file_is_refused_only_after_the_slow_way() -> None:
    asked: list[str] = []
    assert _float_files_pass({"quick": 1e-4, "slow": 2e-3}, asked)
    assert asked == ["quick", "slow"]
    asked.clear()
    assert not _float_files_pass({"quick": 1e-4, "slow": 2e-4}, asked)
    assert asked == ["quick", "slow"]
