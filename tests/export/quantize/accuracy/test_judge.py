"""What is kept gains on samples that it was not fitted to, and seldom by chance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeconv.export.capture.module import capture_module
from edgeconv.export.data.samples import Sample
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, RangeMethod, quantize
from edgeconv.export.quantize.accuracy.bias_correction import settled_mean
from edgeconv.export.quantize.accuracy.judge import LEAST_GAIN_DB, Gain, Judge
from edgeconv.export.quantize.calibration.ranges import CLIPPING
from edgeconv.metrics import EQUAL_DB
from edgeconv.models.randomize import randomize_, structured_input

SHAPE = (3, 16, 16)


def samples(count: int) -> list[Sample]:
    return [(structured_input((1, *SHAPE), seed).numpy(),) for seed in range(count)]


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    network = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 16, 3, groups=4),
        nn.ReLU(),
        nn.Conv2d(16, 6, 1),
        nn.Flatten(),
    )
    captured = capture_module(randomize_(network.eval(), shape=SHAPE), samples(1)[0], ["y"], 20)
    return optimize(captured)


@pytest.mark.parametrize("count", [2, 4, 16, 32])
def test_what_gains_nothing_is_seldom_kept(count: int) -> None:
    """The spread of real pairs is about 0.5 dB. 10 % of 4000 is 400, and 3 deviations are 57."""
    rng = np.random.default_rng(0)
    kept = sum(
        Gain.between(np.ones(count), 10 ** rng.normal(0, 0.05, count)).beyond_chance
        for _ in range(4000)
    )
    assert kept <= 457


@given(
    st.lists(st.floats(1e-4, 1.0), min_size=2, max_size=40),
    st.floats(0.3, 40),
    st.floats(1e-6, 1e6),
)
def test_an_equal_gain_in_every_sample_is_sure_whatever_the_unit(
    noise: list[float], gain_db: float, unit: float
) -> None:
    before = np.array(noise) * unit
    gain = Gain.between(before, before / 10 ** (gain_db / 10))
    assert gain.db == pytest.approx(gain_db)
    assert gain.pooled_db == pytest.approx(gain_db)
    assert gain.beyond_chance
    assert Gain.between(before, before * 10 ** (gain_db / 10)).hopeless


def test_less_than_the_least_gain_is_a_tie() -> None:
    noise = np.ones(32)
    almost = noise / 10 ** (0.9 * LEAST_GAIN_DB / 10)
    assert not Gain.between(noise, almost).beyond_chance


def test_a_single_sample_has_to_lose_half_of_its_noise() -> None:
    assert not Gain.between(np.ones(1), np.full(1, 0.55)).beyond_chance
    assert Gain.between(np.ones(1), np.full(1, 0.45)).beyond_chance


def test_a_gain_of_the_typical_sample_does_not_pay_for_a_loss_of_all_together() -> None:
    before = np.r_[np.full(30, 1e-3), 1.0, 1.0]
    after = np.r_[np.full(30, 1e-4), 1.2, 1.2]
    gain = Gain.between(before, after)
    assert gain.db > gain.uncertainty_db
    assert not gain.beyond_chance


def test_a_gain_of_one_output_does_not_pay_for_a_loss_of_another() -> None:
    """In the judgment of all outputs together the noisier one decides alone."""
    before = np.tile([1e-1, 1e-3], (32, 1))
    gaining = before * [0.5, 1.0]
    assert Gain.between(before, gaining).beyond_chance
    taking = before * [0.5, 1.1]
    gain = Gain.between(before, taking)
    assert gain.db > gain.uncertainty_db
    assert gain.pooled_db > 2
    assert not gain.beyond_chance
    assert not gain.hopeless  # other samples may say that it loses nothing


@given(st.lists(st.tuples(st.floats(1e-4, 1), st.floats(1e-4, 1)), min_size=1, max_size=20))
def test_a_single_output_is_judged_by_its_samples_alone(noise: list[tuple[float, float]]) -> None:
    before, after = np.array(noise).T
    assert Gain.between(before, after) == Gain.between(before[:, None], after[:, None])


def test_outputs_count_by_their_own_size_and_integers_by_equality() -> None:
    x = ir.val("x", ir.DataType.FLOAT, [1, 4])
    tape = ir.tape.Tape()
    large = tape.op("Mul", [x, tape.initializer(ir.tensor(np.float32(1000), name="k"))])
    index = tape.op("ArgMax", [x], {"axis": 1})
    large.name, index.name = "large", "index"
    large.type, index.type = x.type, ir.TensorType(ir.DataType.INT64)
    model = ir.Model(
        ir.Graph(
            [x],
            [large, index],
            nodes=tape.nodes,
            initializers=tape.initializers,
            opset_imports={"": 20},
            name="g",
        ),
        ir_version=9,
    )
    batches = [(np.eye(4, dtype=np.float32)[i : i + 1],) for i in range(4)]
    judge = Judge.on(model, batches)
    np.testing.assert_allclose(judge.noise(model, judge.kept), 0, atol=1e-9)
    wrong = model.clone()
    wrong.graph.initializers["k"].const_value = ir.tensor(np.float32(-1000), name="k")
    # Every element of the first output is off by twice its size, and the second one is equal.
    np.testing.assert_allclose(judge.noise(wrong, judge.kept), [[4, 0]] * 4, atol=1e-9)


def test_elements_that_are_masked_in_both_do_not_count() -> None:
    """They made the noise of every version the most that counts, so that none could gain."""
    model = ir.from_onnx_text(
        """<ir_version: 9, opset_import: ["" : 20]>
        g (float[1,4] x) => (float[1,4] y, float[1,4] z)
        <bool[4] keep = {1, 1, 0, 1}, float mask = {-inf}> {
            y = Where(keep, x, mask)
            z = Sqrt(x)
        }"""
    )
    batches = [(np.float32([[1, -2, 3, 4]]),), (np.float32([[-1, 2, 3, -4]]),)]
    judge = Judge.on(model, batches)
    assert judge.sqnr_db(model) == EQUAL_DB
    other = model.clone()
    other.graph.initializers["keep"].const_value = ir.tensor(np.array([1, 0, 0, 1], bool))
    noise = judge.noise(other, judge.kept)
    assert (noise[:, 0] > 1e9).all()  # an infinity that the network does not have
    np.testing.assert_allclose(noise[:, 1], 0, atol=1e-9)


def test_an_output_in_float_loses_nothing_by_how_float_rounds(graph: ir.Model) -> None:
    """Factors that are no powers of two change the last digits of an output that int8 leaves."""
    rounded = graph.clone()
    for value in rounded.graph.initializers.values():
        assert value.const_value is not None
        array = value.const_value.numpy()
        if array.dtype == np.float32:
            value.const_value = ir.tensor(array * np.float32(1 + 2**-23), name=value.name)
    judge = Judge.on(graph, samples(4))
    exact, almost = (judge.noise(each, judge.kept) for each in (graph, rounded))
    gain = Gain.between(np.hstack([exact, exact + 2e-2]), np.hstack([almost, almost + 1e-2]))
    assert gain.beyond_chance


class Counting:
    """Samples that count how often they are read."""

    def __init__(self, held: list[Sample]) -> None:
        self.held, self.passes = held, 0

    def __len__(self) -> int:
        return len(self.held)

    def __iter__(self) -> Iterator[Sample]:
        self.passes += 1
        yield from self.held


@pytest.mark.parametrize("effort", [0, 1])
def test_calibration_reads_the_data_once(graph: ir.Model, effort: int) -> None:
    data = Counting(samples(24))
    quantize(graph, data, QuantizeOptions(effort=effort))
    assert data.passes == 1


def test_no_effort_is_min_max_alone(graph: ir.Model) -> None:
    plain = quantize(graph, samples(16), QuantizeOptions(effort=0))
    assert plain.range_method is RangeMethod.MINMAX
    assert plain.improvements == ()
    stated = quantize(graph, samples(16), QuantizeOptions(effort=0, bias_correction=True))
    assert [step.name for step in stated.improvements] == ["bias correction"]


def test_every_method_is_tried_and_told(graph: ir.Model) -> None:
    names = [step.name for step in quantize(graph, samples(16)).improvements]
    assert names[:4] == [f"{method.value} ranges" for method in CLIPPING]
    assert "equalization" in names
    assert "bias correction" in names


def test_the_rounding_learns_longer_as_long_as_that_gains(
    graph: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeconv.export.quantize.accuracy.adaround_layer._STEPS", 20)
    steps = quantize(graph, samples(16), QuantizeOptions(effort=3)).improvements
    rounding = [step for step in steps if step.name.startswith("adaptive rounding")]
    names = ["adaptive rounding", *(f"adaptive rounding, {n} times as long" for n in (4, 16))]
    assert [step.name for step in rounding] == names[: len(rounding)]
    assert all(step.kept for step in rounding[:-1])
    assert len(rounding) == len(names) or not rounding[-1].kept


@settings(deadline=None)
@given(st.integers(2, 64), st.floats(-3, 3), st.integers(0, 2**32 - 1))
def test_a_mean_error_is_believed_as_far_as_it_is_known(count: int, mean: float, seed: int) -> None:
    errors = np.random.default_rng(seed).normal(mean, 1, (count, 5))
    settled = settled_mean(errors)
    plain = errors.mean(axis=0)
    assert (np.abs(settled) <= np.abs(plain)).all()
    assert (settled * plain >= 0).all()
    np.testing.assert_allclose(settled_mean(np.full((count, 2), mean)), mean, atol=1e-150)
